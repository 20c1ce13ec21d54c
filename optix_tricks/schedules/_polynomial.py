"""From one value to another along a power of the steps that are left."""

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_number
from optix_tricks._paths import Whole
from optix_tricks.schedules._progress import (
    as_count,
    as_value,
    check_power,
    cycles,
    progress,
    within,
)


def polynomial_schedule(
    init_value: ArrayLike,
    end_value: ArrayLike,
    power: ArrayLike,
    transition_steps: Whole,
    transition_begin: Whole = 0,
    cycle: bool = False,
) -> optax.Schedule:
    """Go from one value to another along a power.

        value(t) = I                         for t <= B
                 = I · w + E · (1 - w)       for B < t < B + T,  w = (1 - (t - B) / T)^P
                 = E                         for t >= B + T

    With `cycle` it does not stay at E: after each multiple of T steps the way to E is
    stretched to the next multiple, T · ceil((t - B) / T) in place of T. The value jumps
    up again, to a peak that is lower every time, and is E at the multiples.

    Its error is a few float32 roundings of the larger of |I| and |E|.

    Helps where the length of the run is known and a line falls too slowly at first
    (P > 1) or too fast (P < 1). Hurts in a run that is stopped before its end, at a rate
    still high. Cost: free.

    Args:
        init_value: I.
        end_value: E.
        power: P, positive.
        transition_steps: T, at least 1.
        transition_begin: B.
        cycle: whether to go on past B + T.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if a number of steps is not a whole number in its range (Optax falls
            back to a constant), or `power` is not positive.

    Examples:
        >>> schedule = polynomial_schedule(1.0, 0.0, power=2, transition_steps=100)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 25, 50, 100, 200)])
        1 0.5625 0.25 0 0

    Source: `optax.polynomial_schedule`; the "poly" policy of Caffe, Jia et al., 2014;
    `cycle` from `tf.train.polynomial_decay` of TensorFlow 1.
    """
    check_number("init_value", init_value)
    check_number("end_value", end_value)
    check_power("power", power)
    check_count("transition_steps", transition_steps, minimum=1)
    check_count("transition_begin", transition_begin)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        if cycle:
            left = _left_in_cycle(count, transition_begin, transition_steps)
        else:
            _, left = progress(count, transition_begin, transition_steps)
        weight = left**power
        return as_value(init_value) * weight + as_value(end_value) * (1 - weight)

    return schedule


def _left_in_cycle(count: ArrayLike, begin: Whole, steps: Whole) -> Float[Array, "..."]:
    """The fraction left of the smallest multiple of `steps` that holds the count."""
    count = as_count(count)
    first, last = within(begin, count), within(steps, count)
    elapsed = jnp.maximum(count, first) - first
    _, done = cycles(elapsed, steps)
    remaining = as_value(last - done) + float(steps - last)
    remaining = jnp.where((elapsed > 0) & (done == 0), 0.0, remaining)
    return remaining / (as_value(elapsed) + remaining)


def linear_schedule(
    init_value: ArrayLike,
    end_value: ArrayLike,
    transition_steps: Whole,
    transition_begin: Whole = 0,
) -> optax.Schedule:
    """Go from one value to another in a straight line.

        value(t) = I                                     for t <= B
                 = I · (B + T - t) / T + E · (t - B) / T for B < t < B + T
                 = E                                     for t >= B + T

    A rise from zero keeps all its digits at the first steps.

    Helps as a warm-up, and as the decay of a run of known length. Hurts in a run that
    goes on after E = 0: nothing moves any more. Cost: free.

    Args:
        init_value: I.
        end_value: E.
        transition_steps: T, at least 1.
        transition_begin: B.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if a number of steps is not a whole number in its range.

    Examples:
        >>> schedule = linear_schedule(1.0, 0.0, transition_steps=100)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 25, 50, 100, 200)])
        1 0.75 0.5 0 0

    Source: `optax.linear_schedule`.
    """
    check_number("init_value", init_value)
    check_number("end_value", end_value)
    check_count("transition_steps", transition_steps, minimum=1)
    check_count("transition_begin", transition_begin)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        done, left = progress(count, transition_begin, transition_steps)
        return as_value(init_value) * left + as_value(end_value) * done

    return schedule
