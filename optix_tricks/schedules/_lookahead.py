"""How far the slow weights of a lookahead go, over a run."""

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import (
    check_count,
    check_fraction,
)
from optix_tricks._paths import Whole
from optix_tricks.schedules._progress import (
    as_count,
    as_value,
    check_power,
    progress,
    within,
)


def lookahead_schedule(
    total_steps: Whole, *, decay: ArrayLike = 0.95**5, power: ArrayLike = 3.0
) -> optax.Schedule:
    """Let the slow weights of a lookahead follow less and less.

        value(t) = 1 - δ · ((t + 1) / T)^p    for t < T - 1
                 = 1 - δ                      for t >= T - 1

    It is the `slow_step_size` of `optix_tricks.lookahead`, which reads it before the step
    is counted: the synchronisation after n steps takes 1 - δ (n / T)^p. At first nothing
    is averaged, near the end almost only. The source ends the run at the slow weights,
    which `optix_tricks.averaged_params` returns.

    Helps runs of known length: progress first, the average when the noise is what is
    left. Hurts in a run that is stopped before T, where hardly anything is averaged.
    Cost: free.

    Args:
        total_steps: T, at least 1.
        decay: δ in [0, 1], the weight of the past at the end; 0.95 a step over five
            steps by default.
        power: p, positive.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `total_steps` is not a whole number of at least 1, `decay` is not
            in [0, 1], or `power` is not positive.

    Examples:
        >>> schedule = lookahead_schedule(100)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 49, 89, 99, 200)])
        1 0.9033 0.4359 0.2262 0.2262

    Source: "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", Jordan, 2024; "Lookahead
    Optimizer: k Steps Forward, 1 Step Back", Zhang et al., 2019.
    """
    check_count("total_steps", total_steps, minimum=1)
    check_fraction("decay", decay)
    check_power("power", power)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        count = as_count(count)
        with_this_one = jnp.minimum(count, within(total_steps, count) - 1) + 1
        done, _ = progress(with_this_one, 0, total_steps)
        return 1 - as_value(decay) * done ** as_value(power)

    return schedule
