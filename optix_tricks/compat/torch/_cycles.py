"""PyTorch's schedulers that cycle rate and momentum against each other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_number
from optix_tricks._paths import Whole
from optix_tricks.schedules import (
    cyclical_schedule,
    onecycle_momentum_schedule,
    onecycle_schedule,
)
from optix_tricks.schedules._progress import as_count, as_value, cycles


@dataclass(frozen=True)
class CycledLR:
    """A schedule of the rate that brings one of the momentum with it.

    PyTorch's scheduler reaches into the optimiser; here both are handed over:
    `SGD(rate, momentum=rate.momentum)`, `Adam(rate, betas=(rate.momentum, 0.999))`.

    Attributes:
        lr: what a call returns, the rate at a count.
        momentum: a schedule, or None with `cycle_momentum=False`.
    """

    lr: Callable[[Any], Any]
    momentum: Callable[[Any], Any] | None

    def __call__(self, count: ArrayLike) -> Float[Array, "..."]:
        """Return the rate."""
        return self.lr(count)


def CyclicLR(
    base_lr: ArrayLike,
    max_lr: ArrayLike,
    step_size_up: Whole = 2000,
    step_size_down: Whole | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: ArrayLike = 1.0,
    scale_fn: Callable[[Any], Any] | None = None,
    scale_mode: Literal["cycle", "iterations"] = "cycle",
    cycle_momentum: bool = True,
    base_momentum: ArrayLike = 0.8,
    max_momentum: ArrayLike = 0.9,
) -> CycledLR:
    """`CyclicLR`: up and down in straight lines, for ever.

        rate(t) = b + (B - b) · h(t),  momentum(t) = M - (M - m) · h(t)

    with h, from 0 to 1 and back, of `optix_tricks.schedules.cyclical_schedule`. As in
    PyTorch the optimiser's own rate is not used.

    Args:
        base_lr: b, the rate at the start of every cycle.
        max_lr: B, the rate at the peak.
        step_size_up: steps from b to B, at least 1.
        step_size_down: steps back; as many by default.
        mode: "triangular", "triangular2" (half the height every cycle) or "exp_range"
            (the height falls by gamma in every step).
        gamma: for "exp_range", in (0, 1].
        scale_fn: a factor of the height instead of `mode`, a function that JAX can
            trace: of the number of the cycle, from 1, or of the step count.
        scale_mode: "cycle" or "iterations", which of the two `scale_fn` is given.
        cycle_momentum: whether the result has a `momentum`.
        base_momentum: m, the momentum at the rate's peak.
        max_momentum: M, the momentum at the start of every cycle.

    Returns:
        A schedule of the rate, with the attribute `momentum`.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> rate = CyclicLR(0.1, 0.5, step_size_up=10)
        >>> print(*[f"{rate(t):.4g}" for t in (0, 5, 10, 20)])
        0.1 0.3 0.5 0.1
        >>> print(*[f"{rate.momentum(t):.4g}" for t in (0, 5, 10, 20)])
        0.9 0.85 0.8 0.9

    Source: `torch.optim.lr_scheduler.CyclicLR`; "Cyclical Learning Rates for Training
    Neural Networks", Smith, 2017.
    """
    check_count("step_size_up", step_size_up, minimum=1)
    down = step_size_up if step_size_down is None else step_size_down
    check_count("step_size_down", down, minimum=1)
    height = cyclical_schedule(
        0.0,
        1.0,
        up_steps=step_size_up,
        down_steps=down,
        mode=mode if scale_fn is None else "triangular",
        gamma=gamma,
    )

    def through(start: ArrayLike, peak: ArrayLike) -> optax.Schedule:
        def schedule(count: ArrayLike) -> Float[Array, "..."]:
            h = height(count)
            if scale_fn is not None:
                steps = as_count(count)
                cycle = 1 + cycles(steps, step_size_up + down)[0]
                h = h * as_value(scale_fn(cycle if scale_mode == "cycle" else steps))
            return as_value(start) * (1 - h) + as_value(peak) * h

        return schedule

    for name, value in (
        ("base_lr", base_lr),
        ("max_lr", max_lr),
        ("base_momentum", base_momentum),
        ("max_momentum", max_momentum),
    ):
        check_number(name, value)
    momentum = through(max_momentum, base_momentum) if cycle_momentum else None
    return CycledLR(through(base_lr, max_lr), momentum)


def OneCycleLR(
    max_lr: ArrayLike,
    total_steps: Whole | None = None,
    epochs: Whole | None = None,
    steps_per_epoch: Whole | None = None,
    pct_start: int | float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    cycle_momentum: bool = True,
    base_momentum: ArrayLike = 0.85,
    max_momentum: ArrayLike = 0.95,
    div_factor: ArrayLike = 25.0,
    final_div_factor: ArrayLike = 1e4,
    three_phase: bool = False,
) -> CycledLR:
    """`OneCycleLR`: up, down and far down over a whole run.

        rate(t): η/d at 0, η at p N - 1, η/(d f) at N - 1
        momentum(t): M at 0, m at p N - 1, M at N - 1

    See `optix_tricks.schedules.onecycle_schedule`. Past the end both stay, where PyTorch
    raises. As in PyTorch the optimiser's own rate is not used.

    Args:
        max_lr: η, the rate at the peak.
        total_steps: N, the updates of the run; or both of the next.
        epochs: how many epochs.
        steps_per_epoch: of how many updates.
        pct_start: p, the fraction of the updates up to the peak.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether the result has a `momentum`.
        base_momentum: m, the momentum at the rate's peak.
        max_momentum: M, the momentum at both ends.
        div_factor: d.
        final_div_factor: f.
        three_phase: whether to fall as fast as it rose, then further.

    Returns:
        A schedule of the rate, with the attribute `momentum`.

    Raises:
        ValueError: if an argument is out of range or the number of steps is not given.

    Examples:
        >>> rate = OneCycleLR(1.0, epochs=10, steps_per_epoch=10)
        >>> print(*[f"{rate(t):.3g}" for t in (0, 29, 64, 99)])
        0.04 1 0.5 4e-06
        >>> print(*[f"{rate.momentum(t):.3g}" for t in (0, 29, 64, 99)])
        0.95 0.85 0.9 0.95

    Source: `torch.optim.lr_scheduler.OneCycleLR`; "Super-Convergence: Very Fast Training
    of Neural Networks Using Large Learning Rates", Smith and Topin, 2018.
    """
    if total_steps is None:
        if epochs is None or steps_per_epoch is None:
            raise ValueError(
                "total_steps must be given, or both epochs and steps_per_epoch, got"
                f" epochs={epochs!r} and steps_per_epoch={steps_per_epoch!r}."
            )
        check_count("epochs", epochs, minimum=1)
        check_count("steps_per_epoch", steps_per_epoch, minimum=1)
        total_steps = epochs * steps_per_epoch
    shape: dict[str, Any] = {
        "pct_start": pct_start,
        "three_phase": three_phase,
        "kind": "cosine" if anneal_strategy == "cos" else "linear",
    }
    rate = onecycle_schedule(
        total_steps,
        max_lr,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        **shape,
    )
    momentum = onecycle_momentum_schedule(
        total_steps, base_momentum, max_value=max_momentum, **shape
    )
    return CycledLR(rate, momentum if cycle_momentum else None)
