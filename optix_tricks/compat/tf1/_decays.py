"""The decays of `tf.train` that are no cosines."""

from collections.abc import Sequence

import optax
from jax.typing import ArrayLike

from optix_tricks import schedules
from optix_tricks._checks import check_count
from optix_tricks._paths import Whole


def piecewise_constant(
    boundaries: Sequence[Whole], values: Sequence[ArrayLike]
) -> optax.Schedule:
    """Take the next value after each boundary.

        value(t) = v_0 for t <= b_1,  v_i for b_i < t <= b_(i+1)

    A boundary's own step still has the old value, unlike in
    `optix_tricks.schedules.piecewise_values_schedule`.

    Args:
        boundaries: b_1, b_2, ..., in order.
        values: v_0, v_1, ..., one more.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = piecewise_constant([100, 200], [1.0, 0.5, 0.1])
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 100, 101, 200, 201)])
        1 1 0.5 0.5 0.1

    Source: `tf.train.piecewise_constant` of TensorFlow 1.
    """
    for index, boundary in enumerate(boundaries):
        check_count(f"boundaries[{index}]", boundary)
    return schedules.piecewise_values_schedule(values, [b + 1 for b in boundaries])


def exponential_decay(
    learning_rate: ArrayLike,
    decay_steps: Whole,
    decay_rate: ArrayLike,
    staircase: bool = False,
) -> optax.Schedule:
    """Multiply the rate by a constant factor every so many steps.

        value(t) = η · r^(t / T)

    Args:
        learning_rate: η.
        decay_steps: T, at least 1.
        decay_rate: r, positive.
        staircase: round t / T down.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = exponential_decay(1.0, 10, 0.5, staircase=True)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 9, 10, 20)])
        1 1 0.5 0.25

    Source: `tf.train.exponential_decay` of TensorFlow 1.
    """
    check_count("decay_steps", decay_steps, minimum=1)
    return schedules.exponential_decay(
        learning_rate, decay_steps, decay_rate, staircase=staircase
    )


def natural_exp_decay(
    learning_rate: ArrayLike,
    decay_steps: Whole,
    decay_rate: ArrayLike,
    staircase: bool = False,
) -> optax.Schedule:
    """Decay by a rate given as an exponent.

        value(t) = η · exp(-λ t / T)

    Args:
        learning_rate: η.
        decay_steps: T, at least 1.
        decay_rate: λ, zero or positive.
        staircase: round t / T down.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = natural_exp_decay(1.0, 10, 0.5)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 10, 20)])
        1 0.6065 0.3679

    Source: `tf.train.natural_exp_decay` of TensorFlow 1.
    """
    check_count("decay_steps", decay_steps, minimum=1)
    return schedules.natural_exp_decay(
        learning_rate, decay_steps, decay_rate, staircase=staircase
    )


def inverse_time_decay(
    learning_rate: ArrayLike,
    decay_steps: Whole,
    decay_rate: ArrayLike,
    staircase: bool = False,
) -> optax.Schedule:
    """Divide the rate by one plus the time.

        value(t) = η / (1 + r t / T)

    Args:
        learning_rate: η.
        decay_steps: T, at least 1.
        decay_rate: r, zero or positive.
        staircase: round t / T down.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = inverse_time_decay(1.0, 10, 0.5)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 10, 20)])
        1 0.6667 0.5

    Source: `tf.train.inverse_time_decay` of TensorFlow 1.
    """
    check_count("decay_steps", decay_steps, minimum=1)
    return schedules.inverse_time_decay(
        learning_rate, decay_steps, decay_rate, staircase=staircase
    )


def polynomial_decay(
    learning_rate: ArrayLike,
    decay_steps: Whole,
    end_learning_rate: ArrayLike = 1e-4,
    power: ArrayLike = 1.0,
    cycle: bool = False,
) -> optax.Schedule:
    """Go to an end value along a power of the steps that are left.

        value(t) = E + (η - E) · (1 - min(t, T) / T)^p

    Args:
        learning_rate: η.
        decay_steps: T, at least 1; with `cycle` its smallest multiple that is not below
            t stands for it.
        end_learning_rate: E.
        power: p, positive.
        cycle: whether to go on after T steps, up again and down more slowly.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = polynomial_decay(1.0, 10, 0.0, cycle=True)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 5, 10, 15, 20)])
        1 0.5 0 0.25 0

    Source: `tf.train.polynomial_decay` of TensorFlow 1.
    """
    check_count("decay_steps", decay_steps, minimum=1)
    return schedules.polynomial_schedule(
        learning_rate, end_learning_rate, power, decay_steps, cycle=cycle
    )
