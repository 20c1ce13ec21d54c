"""Down along half a cosine, again and again."""

import math

import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer

from optix_tricks._checks import check_count, check_fraction, check_number
from optix_tricks._paths import Whole
from optix_tricks.schedules._progress import as_count, as_value, cycles, power

LEAST_GROWTH = 1.01  # bounds the table of cycles, by 1,800 for 32-bit counts


def cosine_restarts_schedule(
    init_value: ArrayLike,
    first_steps: Whole,
    *,
    multiplier: int | float = 1,
    peak_decay: ArrayLike = 1.0,
    alpha: ArrayLike = 0.0,
) -> optax.Schedule:
    """Fall along half a cosine and start again, for ever.

        value(t) = I · ((1 - α) · d^i · c + α),  c = (1 + cos(π (t - S_i) / T_i)) / 2
        for S_i <= t < S_i + T_i,  T_i = round(T m^i),  S_i = T_0 + ... + T_(i-1)

    Cycles have whole numbers of steps, so that every restart's own step has the peak,
    traced or not. The end of a cycle, I · α, is approached and not reached.

    Helps where the length of the run is not known beforehand, or where several models
    are wanted from one run: those at the ends of the cycles. Hurts in a run that ends
    inside a cycle, at a high rate: stop at one of S_1, S_2, ... Cost: a search among
    the cycles, free.

    Args:
        init_value: I.
        first_steps: T, at least 1.
        multiplier: m, 1 or at least 1.01; each cycle is m times as long as the last.
        peak_decay: d in [0, 1]; each peak's height over I · α is d times the last.
        alpha: α in [0, 1], the lowest value as a multiple of I.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `first_steps` is not a whole number of at least 1, `multiplier` is
            neither 1 nor at least 1.01, or `peak_decay` or `alpha` is not in [0, 1].

    Examples:
        >>> schedule = cosine_restarts_schedule(1.0, 10, multiplier=2, peak_decay=0.8)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 5, 9, 10, 20, 30, 50)])
        1 0.5 0.02447 0.8 0.4 0.64 0.32

    Source: "SGDR: Stochastic Gradient Descent with Warm Restarts", Loshchilov and
    Hutter, 2017; `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`, and with
    `peak_decay` `tf.train.cosine_decay_restarts` of TensorFlow 1, which for an m that is
    not whole has cycles of fractions of a step.
    """
    check_number("init_value", init_value)
    check_count("first_steps", first_steps, minimum=1)
    check_number("multiplier", multiplier)
    if multiplier != 1 and multiplier < LEAST_GROWTH:
        raise ValueError(
            f"multiplier must be 1 or at least {LEAST_GROWTH}, got {multiplier}."
        )
    check_fraction("peak_decay", peak_decay)
    check_fraction("alpha", alpha)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        count = as_count(count)
        if multiplier == 1:
            cycle, done = cycles(count, first_steps)
            length = as_value(float(first_steps))
        else:
            starts, lengths = _cycles(count, first_steps, multiplier)
            cycle = jnp.searchsorted(starts, count, side="right") - 1
            done, length = count - starts[cycle], lengths[cycle]
        cosine = jnp.sin(math.pi / 2 * ((length - as_value(done)) / length)) ** 2
        weight = cosine * power(peak_decay, as_value(cycle))
        return as_value(init_value) * (weight + as_value(alpha) * (1 - weight))

    return schedule


def _cycles(
    count: Array, first_steps: Whole, multiplier: int | float
) -> tuple[Integer[Array, " cycles"], Float[Array, " cycles"]]:
    """The start of every cycle that a count of this dtype can reach, and its length."""
    starts, lengths = [0], [first_steps]
    while starts[-1] + lengths[-1] <= jnp.iinfo(count.dtype).max:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(round(first_steps * multiplier ** len(lengths)))
    return jnp.asarray(starts, count.dtype), as_value(np.asarray(lengths, float))
