"""Down as one over the time."""

import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_nonnegative, check_number
from optix_tricks._paths import Whole
from optix_tricks.schedules._progress import as_value, periods


def inverse_time_decay(
    init_value: ArrayLike,
    transition_steps: Whole,
    decay_rate: ArrayLike,
    transition_begin: Whole = 0,
    staircase: bool = False,
) -> optax.Schedule:
    """Divide the value by one plus the time.

        value(t) = I                          for t <= B
                 = I / (1 + r · (t - B) / T)  for t > B

    `staircase` rounds (t - B) / T down; the boundary's own step has the new value.

    Helps on noisy convex problems: the sum of its values is infinite and that of their
    squares finite, as stochastic approximation asks for. Hurts where the run is short: a
    network mostly wants a decay that ends. Cost: free.

    Args:
        init_value: I.
        transition_steps: T, at least 1.
        decay_rate: r, zero or positive.
        transition_begin: B.
        staircase: whether to decay in jumps.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if a number of steps is not a whole number in its range, or
            `decay_rate` is negative.

    Examples:
        >>> schedule = inverse_time_decay(1.0, 10, 0.5)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 5, 10, 20, 100)])
        1 0.8 0.6667 0.5 0.1667

    Source: `tf.train.inverse_time_decay` of TensorFlow 1; "A Stochastic Approximation
    Method", Robbins and Monro, 1951.
    """
    check_number("init_value", init_value)
    check_count("transition_steps", transition_steps, minimum=1)
    check_nonnegative("decay_rate", decay_rate)
    check_count("transition_begin", transition_begin)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        time = periods(count, transition_begin, transition_steps, staircase)
        return as_value(init_value) / (1 + as_value(decay_rate) * time)

    return schedule
