"""One cycle: up, down, and far down, over a whole run."""

import math
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import (
    check_count,
    check_fraction,
    check_number,
    check_positive,
)
from optix_tricks._paths import Whole
from optix_tricks.schedules._constant import constant_schedule
from optix_tricks.schedules._progress import (
    as_count,
    as_exact,
    as_value,
    progress,
    reached,
)

Shape = Literal["cosine", "linear"]


def onecycle_schedule(
    total_steps: Whole,
    peak_value: ArrayLike,
    *,
    pct_start: int | float = 0.3,
    three_phase: bool = False,
    kind: Shape = "cosine",
    div_factor: ArrayLike = 25.0,
    final_div_factor: ArrayLike = 1e4,
) -> optax.Schedule:
    """Rise to a peak and fall far below the first value, within a run of N updates.

        value(t): P/d at 0, P at k = p N - 1, P/(d f) at N - 1 and after
        three phases: P/d at 0, P at k, P/d at 2 k, P/(d f) at N - 1 and after

    between which it goes along half cosines or lines; k need not be whole. The last of N
    updates has the last value: where the other schedules here end at N, this one keeps
    PyTorch's count. Run `onecycle_momentum_schedule` beside it.

    Helps where a large rate for most of a short run is wanted: it warms up, regularises
    by the large rate, and anneals. The length must be known. Cost: free.

    Args:
        total_steps: N, at least 2; the updates of the whole run.
        peak_value: P.
        pct_start: p, the fraction of the updates up to the peak.
        three_phase: whether to fall to P/d as fast as it rose, then to P/(d f).
        kind: "cosine" or "linear".
        div_factor: d, positive.
        final_div_factor: f, positive.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `total_steps` is not a whole number of at least 2, the peak does
            not lie within the run, `kind` is unknown or a factor is not positive.

    Examples:
        >>> schedule = onecycle_schedule(101, 1.0, pct_start=0.2, kind="linear")
        >>> print(*[f"{schedule(t):.3g}" for t in (0, 19, 20, 60, 100, 200)])
        0.04 0.99 0.99 0.495 4e-06 4e-06

    Source: `torch.optim.lr_scheduler.OneCycleLR`; "Super-Convergence: Very Fast Training
    of Neural Networks Using Large Learning Rates", Smith and Topin, 2018 (three phases);
    "A Disciplined Approach to Neural Network Hyper-Parameters", Smith, 2018.
    """
    knees = _torch_knees(total_steps, pct_start, three_phase)
    values = _divided(peak_value, div_factor, final_div_factor)
    if three_phase:
        values.insert(2, values[0])
    return _through(knees, values, kind)


def onecycle_momentum_schedule(
    total_steps: Whole,
    base_value: ArrayLike = 0.85,
    *,
    max_value: ArrayLike = 0.95,
    pct_start: int | float = 0.3,
    three_phase: bool = False,
    kind: Shape = "cosine",
) -> optax.Schedule:
    """Cycle momentum against `onecycle_schedule`: low where the rate is high.

        value(t): M at 0, m at k = p N - 1, M at N - 1 and after
        three phases: M at 0, m at k, M at 2 k and after

    Helps beside a large rate, which with the usual momentum is unstable; less momentum
    allows more rate. Hurts beside a rate that does not rise: less momentum is then only a
    shorter step. Cost: free; give it to `trace(decay=...)` or `sgd(momentum=...)`.

    Args:
        total_steps: N, as for the rate.
        base_value: m, the value at the rate's peak.
        max_value: M, the value at both ends.
        pct_start: p, as for the rate.
        three_phase: as for the rate.
        kind: "cosine" or "linear".

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `total_steps` is not a whole number of at least 2, the peak does
            not lie within the run, or `kind` is unknown.

    Examples:
        >>> schedule = onecycle_momentum_schedule(101, pct_start=0.2, kind="linear")
        >>> print(*[f"{schedule(t):.3g}" for t in (0, 19, 60, 100, 200)])
        0.95 0.851 0.9 0.95 0.95

    Source: `torch.optim.lr_scheduler.OneCycleLR`; Smith, 2018.
    """
    check_number("base_value", base_value)
    check_number("max_value", max_value)
    knees = _torch_knees(total_steps, pct_start, three_phase)
    values = [max_value, base_value, *[max_value] * (len(knees) - 2)]
    return _through(knees, values, kind)


def cosine_onecycle_schedule(
    transition_steps: Whole,
    peak_value: ArrayLike,
    pct_start: int | float = 0.3,
    div_factor: ArrayLike = 25.0,
    final_div_factor: ArrayLike = 1e4,
) -> optax.Schedule:
    """Rise and fall along half cosines: Optax's count of the steps.

        value(t): P/d at 0, P at ⌊p T⌋, P/(d f) at T and after

    Helps as `onecycle_schedule` does, in short runs of known length at a large rate.
    Hurts in a run that is stopped before T, at a rate still high. Cost: free.

    Args:
        transition_steps: T, at least 1.
        peak_value: P.
        pct_start: p, the fraction of the steps up to the peak.
        div_factor: d, positive.
        final_div_factor: f, positive.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `transition_steps` is not a whole number of at least 1,
            `pct_start` is not in [0, 1] or a factor is not positive.

    Examples:
        >>> schedule = cosine_onecycle_schedule(100, 1.0)
        >>> print(*[f"{schedule(t):.3g}" for t in (0, 15, 30, 65, 100, 200)])
        0.04 0.52 1 0.5 4e-06 4e-06

    Source: `optax.cosine_onecycle_schedule`.
    """
    check_count("transition_steps", transition_steps, minimum=1)
    check_fraction("pct_start", pct_start)
    knees = [0, int(pct_start * transition_steps), transition_steps]
    return _through(knees, _divided(peak_value, div_factor, final_div_factor), "cosine")


def linear_onecycle_schedule(
    transition_steps: Whole,
    peak_value: ArrayLike,
    pct_start: int | float = 0.3,
    pct_final: int | float = 0.85,
    div_factor: ArrayLike = 25.0,
    final_div_factor: ArrayLike = 1e4,
) -> optax.Schedule:
    """Rise, fall and fall further in straight lines: Optax's count of the steps.

        value(t): P/d at 0, P at ⌊p T⌋, P/d at ⌊q T⌋, P/(d f) at T and after

    Helps as `onecycle_schedule(three_phase=True)` does, in short runs of known length at
    a large rate. Hurts in a run that is stopped before ⌊q T⌋, at a rate still high.
    Cost: free.

    Args:
        transition_steps: T, at least 1.
        peak_value: P.
        pct_start: p, the fraction of the steps up to the peak.
        pct_final: q, the fraction of the steps until the value is the first one again.
        div_factor: d, positive.
        final_div_factor: f, positive.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `transition_steps` is not a whole number of at least 1, the
            fractions are not in order in [0, 1] or a factor is not positive.

    Examples:
        >>> schedule = linear_onecycle_schedule(100, 1.0)
        >>> print(*[f"{schedule(t):.3g}" for t in (0, 15, 30, 85, 100, 200)])
        0.04 0.52 1 0.04 4e-06 4e-06

    Source: `optax.linear_onecycle_schedule`.
    """
    check_count("transition_steps", transition_steps, minimum=1)
    check_fraction("pct_start", pct_start)
    check_fraction("pct_final", pct_final)
    if pct_final < pct_start:
        raise ValueError(
            f"pct_final must be at least pct_start, got {pct_final} after {pct_start}."
        )
    knees = [int(pct * transition_steps) for pct in (0, pct_start, pct_final, 1)]
    start, peak, final = _divided(peak_value, div_factor, final_div_factor)
    return _through(knees, [start, peak, start, final], "linear")


def _torch_knees(
    total_steps: Whole, pct_start: int | float, three_phase: bool
) -> list[int | float]:
    check_count("total_steps", total_steps, minimum=2)
    check_fraction("pct_start", pct_start)
    peak = pct_start * total_steps - 1
    knees = [0, peak, *([2 * peak] if three_phase else []), total_steps - 1]
    if knees != sorted(knees):
        raise ValueError(
            f"pct_start must put the knees in order, got {pct_start}, which puts them"
            f" at {knees} of {total_steps} steps."
        )
    return knees


def _divided(
    peak_value: ArrayLike, div_factor: ArrayLike, final_div_factor: ArrayLike
) -> list[ArrayLike]:
    """The first value, the peak and the last value."""
    check_number("peak_value", peak_value)
    check_positive("div_factor", div_factor)
    check_positive("final_div_factor", final_div_factor)
    start = as_exact(peak_value) / as_exact(div_factor)
    return [start, peak_value, start / as_exact(final_div_factor)]


def _through(
    knees: Sequence[int | float], values: Sequence[ArrayLike], kind: Shape
) -> optax.Schedule:
    """Pass through each value at its knee; knees may be equal, and need not be whole."""

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        count = as_count(count)
        value = constant_schedule(values[0])(count)
        phases = zip(knees[:-1], knees[1:], values[:-1], values[1:], strict=True)
        for begin, end, start, stop in phases:
            if begin == end:
                phase = as_value(stop)
            else:
                done, left = progress(count, begin, end - begin)
                if kind == "cosine":
                    left = jnp.sin(math.pi / 2 * left) ** 2
                    done = 1 - left
                phase = as_value(start) * left + as_value(stop) * done
            value = jnp.where(reached(count, math.ceil(begin)), phase, value)
        return value

    return schedule
