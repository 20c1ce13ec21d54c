"""Constant pieces with a jump at each boundary."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_nonnegative, check_number
from optix_tricks._paths import Whole
from optix_tricks.schedules._constant import constant_schedule
from optix_tricks.schedules._join import join_schedules
from optix_tricks.schedules._progress import as_count, as_value, reached


def piecewise_constant_schedule(
    init_value: ArrayLike,
    boundaries_and_scales: Mapping[int, ArrayLike] | None = None,
) -> optax.Schedule:
    """Multiply the value by a factor at each boundary.

        value(t) = I · ∏ {s_i : b_i <= t}

    so a boundary's own step already has the new value, and the last value stays. Without
    boundaries the value is constant.

    Helps where it is known when the loss hangs at a rate, and beside published runs.
    Hurts where a drop comes too early: the rest of the run goes on at a rate too small.
    Cost: free.

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
            lower = as_value(init_value) * as_value(product)
            value = jnp.where(reached(as_count(count), boundary), lower, value)
        return value

    return schedule


def piecewise_values_schedule(
    values: Sequence[ArrayLike], boundaries: Sequence[Whole]
) -> optax.Schedule:
    """Take the next value at each boundary.

        value(t) = v_0    for t < b_1
                 = v_i    for b_i <= t < b_(i+1)

    so a boundary's own step already has the new value, and the last value stays: the form
    of `piecewise_constant_schedule` by values instead of factors.

    Helps where the values themselves are known, of a momentum or a decay, too. Hurts
    where a boundary comes too early, or jumps up without a warm-up. Cost: free.

    Args:
        values: v_0, v_1, ...; numbers or arrays.
        boundaries: b_1, b_2, ..., in order; equal ones skip the value between them.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `values` is not one longer than `boundaries` or holds a number
            that is not finite, or `boundaries` is not in order or not of whole numbers
            of at least zero.

    Examples:
        >>> schedule = piecewise_values_schedule([0.1, 0.05, 0.2], [100, 200])
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 99, 100, 199, 200, 999)])
        0.1 0.1 0.05 0.05 0.2 0.2

    Source: `tf.train.piecewise_constant` of TensorFlow 1, whose boundary's own step has
    the old value: its boundaries are these less one.
    """
    if len(values) != len(boundaries) + 1:
        raise ValueError(
            "values must be one longer than boundaries, got"
            f" {len(values)} values for {len(boundaries)} boundaries."
        )
    for index, value in enumerate(values):
        check_number(f"values[{index}]", value)
    return join_schedules([constant_schedule(value) for value in values], boundaries)
