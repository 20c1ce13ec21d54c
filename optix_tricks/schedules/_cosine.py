"""Down along half a cosine."""

import math

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
from optix_tricks.schedules._progress import as_value, check_power, progress


def cosine_decay_schedule(
    init_value: ArrayLike,
    decay_steps: Whole,
    alpha: ArrayLike = 0.0,
    exponent: ArrayLike = 1.0,
) -> optax.Schedule:
    """Fall along half a cosine to a fraction of the first value.

        value(t) = I · ((1 - α) · c^p + α),  c = (1 + cos(π t / T)) / 2    for t < T
                 = I · α                                                   for t >= T

    c is computed as sin²(π/2 · (T - t) / T), which keeps its digits near the end, where
    1 + cos cancels.

    Helps where the length of the run is known: nothing else need be tuned. Hurts in a run
    that is stopped before T, at a rate still high. Cost: free.

    Args:
        init_value: I.
        decay_steps: T, at least 1.
        alpha: α, the end value as a multiple of I.
        exponent: p, positive.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `decay_steps` is not a whole number of at least 1, `alpha` is
            negative or `exponent` is not positive.

    Examples:
        >>> schedule = cosine_decay_schedule(1.0, decay_steps=100, alpha=0.1)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 50, 99, 100, 200)])
        1 0.55 0.1002 0.1 0.1

    Source: `optax.cosine_decay_schedule`; "SGDR: Stochastic Gradient Descent with Warm
    Restarts", Loshchilov and Hutter, 2017.
    """
    check_number("init_value", init_value)
    check_count("decay_steps", decay_steps, minimum=1)
    check_nonnegative("alpha", alpha)
    check_power("exponent", exponent)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        _, left = progress(count, 0, decay_steps)
        cosine = jnp.sin(math.pi / 2 * left) ** 2
        weight = cosine**exponent
        return as_value(init_value) * (weight + as_value(alpha) * (1 - weight))

    return schedule
