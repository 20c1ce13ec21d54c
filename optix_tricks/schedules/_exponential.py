"""A constant factor every so many steps."""

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import (
    check_count,
    check_nonnegative,
    check_number,
)
from optix_tricks._paths import Whole
from optix_tricks.schedules._progress import (
    as_value,
    check_power,
    periods,
    power,
    within_range,
)


def exponential_decay(
    init_value: ArrayLike,
    transition_steps: Whole,
    decay_rate: ArrayLike,
    transition_begin: Whole = 0,
    staircase: bool = False,
    end_value: ArrayLike | None = None,
) -> optax.Schedule:
    """Multiply the value by a constant factor every `transition_steps` steps.

        value(t) = I                    for t <= B
                 = I · r^((t - B) / T)  for t > B

    `staircase` rounds the exponent down; the boundary's own step has the new value.
    `end_value` bounds the value from below if r < 1, else from above.

    A rate of 0.9999 is rounded in float32, and its hundred-thousandth power would be
    wrong by 0.2 %: the rounding of a rate that is a number is made good. A value that
    grows beyond float32 stays at its largest number.

    Helps where the length of the run is open: equal times, equal factors. Hurts where r
    is too small for the run: the steps die before its end. Cost: free.

    Args:
        init_value: I.
        transition_steps: T, at least 1.
        decay_rate: r, positive.
        transition_begin: B.
        staircase: whether to decay in jumps.
        end_value: the bound; none by default.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if a number of steps is not a whole number in its range, or
            `decay_rate` is not positive (Optax falls back to a constant) or rounds to
            zero.

    Examples:
        >>> schedule = exponential_decay(1.0, 10, 0.5, end_value=0.1)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 5, 10, 20, 100)])
        1 0.7071 0.5 0.25 0.1

    Source: `optax.exponential_decay`, whose staircase under `jax.jit` falls one step
    late for some T (41 is one), since it divides in float32.
    """
    check_number("init_value", init_value)
    check_count("transition_steps", transition_steps, minimum=1)
    check_power("decay_rate", decay_rate)
    check_count("transition_begin", transition_begin)
    if end_value is not None:
        check_number("end_value", end_value)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        exponent = periods(count, transition_begin, transition_steps, staircase)
        value = within_range(as_value(init_value) * power(decay_rate, exponent))
        if end_value is None:
            return value
        falls, bound = as_value(decay_rate) < 1, as_value(end_value)
        return jnp.where(falls, jnp.maximum(value, bound), jnp.minimum(value, bound))

    return schedule


def natural_exp_decay(
    init_value: ArrayLike,
    transition_steps: Whole,
    decay_rate: ArrayLike,
    transition_begin: Whole = 0,
    staircase: bool = False,
) -> optax.Schedule:
    """Decay by a rate given as an exponent.

        value(t) = I                          for t <= B
                 = I · exp(-λ · (t - B) / T)  for t > B

    that is `exponential_decay` by the factor e^-λ. `staircase` rounds (t - B) / T down;
    the boundary's own step has the new value.

    Helps where the length of the run is open, as `exponential_decay` does. Hurts where λ
    is too large for the run: the steps die before its end. Cost: free.

    Args:
        init_value: I.
        transition_steps: T, at least 1.
        decay_rate: λ, zero or positive.
        transition_begin: B.
        staircase: whether to decay in jumps.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if a number of steps is not a whole number in its range, or
            `decay_rate` is negative.

    Examples:
        >>> schedule = natural_exp_decay(1.0, 10, 0.5)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 5, 10, 20, 100)])
        1 0.7788 0.6065 0.3679 0.006738

    Source: `tf.train.natural_exp_decay` of TensorFlow 1.
    """
    check_number("init_value", init_value)
    check_count("transition_steps", transition_steps, minimum=1)
    check_nonnegative("decay_rate", decay_rate)
    check_count("transition_begin", transition_begin)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        exponent = periods(count, transition_begin, transition_steps, staircase)
        return as_value(init_value) * jnp.exp(-as_value(decay_rate) * exponent)

    return schedule
