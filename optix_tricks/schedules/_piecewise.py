"""Constant pieces with a jump at each boundary."""

from collections.abc import Mapping

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_nonnegative, check_number
from optix_tricks.schedules._constant import constant_schedule
from optix_tricks.schedules._progress import as_value


def piecewise_constant_schedule(
    init_value: ArrayLike,
    boundaries_and_scales: Mapping[int, ArrayLike] | None = None,
) -> optax.Schedule:
    """Multiply the value by a factor at each boundary.

        value(t) = I · ∏ {s_i : b_i <= t}

    so a boundary's own step already has the new value, and the last value stays.
    Without boundaries the value is constant. Cost: free.

    Args:
        init_value: I.
        boundaries_and_scales: {b_i: s_i}; the scales accumulate, in any order of b_i.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if a boundary is not a whole number of at least zero, or a scale is
            negative.

    Examples:
        >>> schedule = piecewise_constant_schedule(1.0, {100: 0.1, 200: 0.5})
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 99, 100, 199, 200, 999)])
        1 1 0.1 0.1 0.05 0.05

    Source: `optax.piecewise_constant_schedule`; the steps of "Deep Residual Learning
    for Image Recognition", He et al., 2016.
    """
    check_number("init_value", init_value)
    steps_down = sorted((boundaries_and_scales or {}).items())
    for boundary, scale in steps_down:
        check_count("a boundary of boundaries_and_scales", boundary)
        check_nonnegative(f"boundaries_and_scales[{boundary}]", scale)
    first_piece = constant_schedule(init_value)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        value = first_piece(count)
        product: ArrayLike = 1.0
        for boundary, scale in steps_down:
            product = product * scale
            reached = jnp.asarray(count) >= boundary
            value = jnp.where(reached, as_value(init_value) * as_value(product), value)
        return value

    return schedule
