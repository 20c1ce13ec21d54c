"""One schedule after another."""

from collections.abc import Sequence

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count
from optix_tricks._paths import Whole
from optix_tricks.schedules._progress import as_count, as_value, reached, within


def join_schedules(
    schedules: Sequence[optax.Schedule], boundaries: Sequence[Whole]
) -> optax.Schedule:
    """Run schedules one after another, each from its own step 0.

        value(t) = s_0(t)          for t < b_1
                 = s_i(t - b_i)    for b_i <= t < b_(i+1)

    The last schedule runs on past its end. All schedules are evaluated at every step, but
    only on counts from 0 to their own length: one that is infinite or NaN beyond that
    harms neither the value nor its derivative.

    Helps where a run has phases. Hurts where the pieces do not meet: a jump up to a high
    rate wants a warm-up. Cost: that of all schedules.

    Args:
        schedules: s_0, s_1, ...; any functions of the step count.
        boundaries: b_1, b_2, ..., in order; equal ones skip the schedule between them.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if a schedule is not a function, or `boundaries` is not one shorter
            than `schedules`, not in order, or not of whole numbers of at least zero.

    Examples:
        >>> schedule = join_schedules([lambda t: 0.1 * t, lambda t: 1 - 0.1 * t], [10])
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 5, 9, 10, 15)])
        0 0.5 0.9 1 0.5

    Source: `optax.join_schedules`, which also evaluates schedules on counts that are
    negative or past their end.
    """
    for index, piece in enumerate(schedules):
        if not callable(piece):
            raise ValueError(
                f"schedules[{index}] must be a function of the step, got {piece!r};"
                " wrap a number in constant_schedule."
            )
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            "boundaries must be one shorter than schedules, got"
            f" {len(boundaries)} boundaries for {len(schedules)} schedules."
        )
    for index, boundary in enumerate(boundaries):
        check_count(f"boundaries[{index}]", boundary)
    if list(boundaries) != sorted(boundaries):
        raise ValueError(f"boundaries must be in order, got {list(boundaries)}.")
    starts = [0, *boundaries]
    ends = [*boundaries, None]

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        count = as_count(count)
        values = []
        for piece, start, end in zip(schedules, starts, ends, strict=True):
            first = within(start, count)
            last = None if end is None else within(end, count)
            values.append(as_value(piece(jnp.clip(count, first, last) - first)))
        value = values[0]
        for boundary, later in zip(boundaries, values[1:], strict=True):
            value = jnp.where(reached(count, boundary), later, value)
        return value

    return schedule
