"""Up and down between two values, for ever."""

from typing import Literal

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import (
    check_count,
    check_fraction,
    check_number,
)
from optix_tricks._paths import Whole
from optix_tricks.schedules._exponential import exponential_decay
from optix_tricks.schedules._progress import (
    as_count,
    as_value,
    check_power,
    cycles,
    progress,
    reached,
)

HALVINGS = 1100  # more than a float64 has room for

CycleMode = Literal["triangular", "triangular2", "exp_range"]


def cyclical_schedule(
    base_value: ArrayLike,
    peak_value: ArrayLike,
    *,
    up_steps: Whole,
    down_steps: Whole | None = None,
    mode: CycleMode = "triangular",
    gamma: ArrayLike = 1.0,
) -> optax.Schedule:
    """Go to a peak and back in straight lines, again and again.

        value(t) = B · (1 - h a) + P · h a
        h = p / U                for p < U,  p = t mod (U + D)
          = (U + D - p) / D      for p >= U
        a = 1                    mode "triangular"
          = 2^-⌊t / (U + D)⌋     mode "triangular2", half the height every cycle
          = γ^t                  mode "exp_range"

    Nothing asks for the peak to be the larger value. Momentum is cycled against the
    rate, high where the rate is low, by the same function with the same steps:
    `cyclical_schedule(0.9, 0.8, ...)` starts at 0.9 and is 0.8 at the rate's peak.

    Helps where a range of good rates is known, from a range test, and the length of the
    run is not. Hurts in a run that ends at a high rate: stop at the end of a cycle.
    Cost: free.

    Args:
        base_value: B, the value at the start of every cycle.
        peak_value: P.
        up_steps: U, from B to P; at least 1.
        down_steps: D, back to B; U by default.
        mode: how the height changes.
        gamma: γ in (0, 1], for "exp_range".

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if a number of steps is not a whole number of at least 1, `mode` is
            unknown or `gamma` is not in (0, 1].

    Examples:
        >>> schedule = cyclical_schedule(0.0, 1.0, up_steps=10, mode="triangular2")
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 5, 10, 15, 20, 30, 40)])
        0 0.5 1 0.5 0 0.5 0

    Source: "Cyclical Learning Rates for Training Neural Networks", Smith, 2017;
    `torch.optim.lr_scheduler.CyclicLR`.
    """
    down_steps = up_steps if down_steps is None else down_steps
    check_number("base_value", base_value)
    check_number("peak_value", peak_value)
    check_count("up_steps", up_steps, minimum=1)
    check_count("down_steps", down_steps, minimum=1)
    check_power("gamma", gamma)
    check_fraction("gamma", gamma)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        cycle, position = cycles(as_count(count), up_steps + down_steps)
        rise, _ = progress(position, 0, up_steps)
        _, fall = progress(position, up_steps, down_steps)
        height = jnp.where(reached(position, up_steps), fall, rise)
        if mode == "triangular2":
            halvings = jnp.minimum(cycle, HALVINGS).astype(jnp.int32)
            height = jnp.ldexp(height, -halvings)
        if mode == "exp_range":
            height = height * exponential_decay(1.0, 1, gamma)(count)
        return as_value(base_value) * (1 - height) + as_value(peak_value) * height

    return schedule
