"""Up, level, down."""

from typing import Literal

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_number
from optix_tricks._paths import Whole
from optix_tricks.schedules._constant import constant_schedule
from optix_tricks.schedules._join import join_schedules
from optix_tricks.schedules._progress import as_value, progress
from optix_tricks.schedules._warmup import warmup_schedule

Fall = Literal["linear", "1-sqrt"]


def wsd_schedule(
    peak_value: ArrayLike,
    *,
    warmup_steps: Whole,
    stable_steps: Whole,
    decay_steps: Whole,
    init_value: ArrayLike = 0.0,
    end_value: ArrayLike = 0.0,
    kind: Fall = "linear",
) -> optax.Schedule:
    """Warm up, stay, decay.

        value(t) = I · (1 - t/W) + P · t/W    for t < W
                 = P                          for W <= t < W + S
                 = P · w + E · (1 - w)        for W + S <= t < W + S + D
                 = E                          for t >= W + S + D
        w = 1 - s   kind "linear",      s = (t - W - S) / D
          = 1 - √s  kind "1-sqrt", steep at first and flat at the end

    Helps where the length of the run is not known beforehand or several are wanted: all
    share the level part, and a decay of 10 to 20 % of the steps started from any point
    of it comes close to a cosine of that length. Cost: free.

    Args:
        peak_value: P.
        warmup_steps: W.
        stable_steps: S.
        decay_steps: D, at least 1.
        init_value: I.
        end_value: E.
        kind: the shape of the decay.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if a number of steps is not a whole number in its range or `kind` is
            unknown.

    Examples:
        >>> schedule = wsd_schedule(
        ...     1.0, warmup_steps=10, stable_steps=70, decay_steps=20, kind="1-sqrt"
        ... )
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 5, 10, 80, 85, 100, 200)])
        0 0.5 1 1 0.5 0 0

    Source: "MiniCPM: Unveiling the Potential of Small Language Models with Scalable
    Training Strategies", Hu et al., 2024; "Scaling Laws and Compute-Optimal Training
    Beyond Fixed Training Durations", Hägele et al., 2024 (linear and 1-sqrt).
    """
    check_number("peak_value", peak_value)
    check_number("end_value", end_value)
    check_count("stable_steps", stable_steps)
    check_count("decay_steps", decay_steps, minimum=1)

    def decay(count: ArrayLike) -> Float[Array, "..."]:
        done, left = progress(count, 0, decay_steps)
        if kind == "1-sqrt":
            root = jnp.sqrt(done)
            left, done = left / (1 + root), root  # 1 - √s, without cancelling
        return as_value(peak_value) * left + as_value(end_value) * done

    level = join_schedules([constant_schedule(peak_value), decay], [stable_steps])
    return warmup_schedule(level, warmup_steps=warmup_steps, init_value=init_value)
