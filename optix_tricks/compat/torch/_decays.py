"""PyTorch's schedulers that lower the rate: steps, exponential, cosine, restarts."""

import math
from collections import Counter
from collections.abc import Sequence

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_nonnegative, check_number
from optix_tricks._paths import Whole
from optix_tricks.schedules import (
    cosine_restarts_schedule,
    cyclical_schedule,
    exponential_decay,
    piecewise_constant_schedule,
)
from optix_tricks.schedules._progress import as_value


def StepLR(lr: ArrayLike, step_size: Whole, gamma: ArrayLike = 0.1) -> optax.Schedule:
    """`StepLR`: multiply the rate every so many steps.

        value(t) = η · γ^⌊t / S⌋

    Args:
        lr: η, the optimiser's rate in PyTorch.
        step_size: S, at least 1. PyTorch counts calls of `scheduler.step()`, mostly
            epochs; here it is always updates.
        gamma: γ, positive.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = StepLR(1.0, step_size=30)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 29, 30, 59, 60)])
        1 1 0.1 0.1 0.01

    Source: `torch.optim.lr_scheduler.StepLR`.
    """
    check_count("step_size", step_size, minimum=1)
    return exponential_decay(lr, step_size, gamma, staircase=True)


def MultiStepLR(
    lr: ArrayLike, milestones: Sequence[Whole], gamma: ArrayLike = 0.1
) -> optax.Schedule:
    """`MultiStepLR`: multiply the rate at each milestone.

        value(t) = η · γ^|{i : m_i <= t}|

    Args:
        lr: η.
        milestones: m_i, in updates; one that is named twice counts twice.
        gamma: γ, zero or positive.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = MultiStepLR(1.0, milestones=[30, 80])
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 29, 30, 79, 80)])
        1 1 0.1 0.1 0.01

    Source: `torch.optim.lr_scheduler.MultiStepLR`.
    """
    times = Counter(milestones)
    check_nonnegative("gamma", gamma)
    return piecewise_constant_schedule(lr, {m: gamma**n for m, n in times.items()})


def ExponentialLR(lr: ArrayLike, gamma: ArrayLike) -> optax.Schedule:
    """`ExponentialLR`: multiply the rate in every step.

        value(t) = η · γ^t

    Args:
        lr: η.
        gamma: γ, positive; for a decay per epoch of S updates, its S-th root.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = ExponentialLR(1.0, gamma=0.5)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 1, 2, 3)])
        1 0.5 0.25 0.125

    Source: `torch.optim.lr_scheduler.ExponentialLR`.
    """
    return exponential_decay(lr, 1, gamma)


def CosineAnnealingLR(
    lr: ArrayLike, T_max: Whole, eta_min: ArrayLike = 0.0
) -> optax.Schedule:
    """`CosineAnnealingLR`: along a cosine down, and up again, for ever.

        value(t) = E + (η - E) · (1 + cos(π t / T)) / 2

    `optix_tricks.schedules.cosine_decay_schedule` stays down after T steps.

    Args:
        lr: η.
        T_max: T, the steps down, at least 1.
        eta_min: E, the lowest rate.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = CosineAnnealingLR(1.0, T_max=100, eta_min=0.1)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 50, 100, 150, 200)])
        1 0.55 0.1 0.55 1

    Source: `torch.optim.lr_scheduler.CosineAnnealingLR`; "SGDR: Stochastic Gradient
    Descent with Warm Restarts", Loshchilov and Hutter, 2017.
    """
    check_count("T_max", T_max, minimum=1)
    left = cyclical_schedule(1.0, 0.0, up_steps=T_max)
    return _between(eta_min, lr, lambda count: jnp.sin(math.pi / 2 * left(count)) ** 2)


def CosineAnnealingWarmRestarts(
    lr: ArrayLike, T_0: Whole, T_mult: Whole = 1, eta_min: ArrayLike = 0.0
) -> optax.Schedule:
    """`CosineAnnealingWarmRestarts`: down along a cosine, then from the top again.

        value(t) = E + (η - E) · (1 + cos(π (t - S_i) / T_i)) / 2
        for S_i <= t < S_i + T_i,  T_i = T m^i

    Args:
        lr: η.
        T_0: T, the steps of the first cycle, at least 1.
        T_mult: m, at least 1; each cycle is m times as long as the last.
        eta_min: E, the lowest rate.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = CosineAnnealingWarmRestarts(1.0, T_0=10, T_mult=2)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 5, 10, 20, 30)])
        1 0.5 1 0.5 1

    Source: `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`; "SGDR: Stochastic
    Gradient Descent with Warm Restarts", Loshchilov and Hutter, 2017.
    """
    check_count("T_0", T_0, minimum=1)
    check_count("T_mult", T_mult, minimum=1)
    return _between(eta_min, lr, cosine_restarts_schedule(1.0, T_0, multiplier=T_mult))


def _between(low: ArrayLike, high: ArrayLike, weight: optax.Schedule) -> optax.Schedule:
    """From `low` at the weight 0 to `high` at the weight 1, exact at both."""
    check_number("eta_min", low)
    check_number("lr", high)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        w = weight(count)
        return as_value(high) * w + as_value(low) * (1 - w)

    return schedule
