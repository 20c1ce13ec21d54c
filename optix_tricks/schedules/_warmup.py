"""A gentle start in front of any schedule."""

from typing import Literal

import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_number
from optix_tricks._paths import Whole
from optix_tricks.schedules._join import join_schedules
from optix_tricks.schedules._progress import as_value, check_power, progress

Rise = Literal["linear", "constant", "exponential"]


def warmup_schedule(
    schedule: optax.Schedule,
    *,
    warmup_steps: Whole,
    init_value: ArrayLike = 0.0,
    kind: Rise = "linear",
) -> optax.Schedule:
    """Rise to a schedule's first value, then run the schedule.

        value(t) = I · (1 - t/W) + P · t/W    for t < W, kind "linear"
                 = I                          for t < W, kind "constant"
                 = I · (P / I)^(t/W)          for t < W, kind "exponential"
                 = schedule(t - W)            for t >= W

    where P = schedule(0). The schedule is delayed, not shortened: give it the steps
    that remain after the warm-up. With I = 0 the first update is zero; PyTorch users
    who expect P / W there pass `init_value=P / W` and `warmup_steps=W - 1`. With no
    warm-up steps it is the schedule itself.

    Helps where the first gradients are large or their statistics are not known yet: big
    batches, adaptive methods. Cost: free.

    Args:
        schedule: any function of the step count.
        warmup_steps: W.
        init_value: I; positive for the exponential kind.
        kind: the shape of the rise.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `schedule` is not a function, `warmup_steps` is not a whole
            number of at least zero, `kind` is unknown, or `init_value` is not positive
            for the exponential kind.

    Examples:
        >>> decay = optax.cosine_decay_schedule(1.0, decay_steps=100)
        >>> schedule = warmup_schedule(decay, warmup_steps=10)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 1, 5, 10, 60, 110)])
        0 0.1 0.5 1 0.5 0

    Source: "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", Goyal et al.,
    2017 (linear and constant).
    """
    if not callable(schedule):
        raise ValueError(
            f"schedule must be a function of the step, got {schedule!r};"
            " wrap a number in constant_schedule."
        )
    check_count("warmup_steps", warmup_steps)
    check_number("init_value", init_value)
    if kind == "exponential":
        check_power("init_value of an exponential warm-up", init_value)

    def rise(count: ArrayLike) -> Float[Array, "..."]:
        done, left = progress(count, 0, max(warmup_steps, 1))
        start, peak = as_value(init_value), as_value(schedule(0))
        if kind == "linear":
            return start * left + peak * done
        if kind == "exponential":
            return start * (peak / start) ** done
        return start

    return join_schedules([rise, schedule], [warmup_steps])
