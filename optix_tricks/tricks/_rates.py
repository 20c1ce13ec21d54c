"""The learning rate over the run, as a share of its peak: shapes, and a rise before them.

The part of a shape is a function from the number of updates that are left after the rise,
and the number of those in it, to the schedule of the share.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax

from optix_tricks import schedules
from optix_tricks._checks import check_fraction, check_nonnegative
from optix_tricks.schedules._cyclical import CycleMode
from optix_tricks.schedules._wsd import Fall
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import trick

Shape = Callable[[int, int], optax.Schedule]


@trick("shape", calls=schedules.constant_schedule)
def constant(context: Context, call: Any) -> Shape:
    """The peak throughout."""
    return lambda steps, risen: call(1.0)


@trick("shape", calls=schedules.linear_schedule, fields=(), end_value=0.0)
def linear(context: Context, call: Any) -> Shape:
    """A line to the end value."""
    return lambda steps, risen: call(1.0, transition_steps=steps)


@trick("shape", calls=schedules.cosine_decay_schedule)
def cosine(context: Context, call: Any) -> Shape:
    """Half a cosine to the share `alpha`."""
    return lambda steps, risen: call(1.0, steps)


@trick("shape", calls=schedules.polynomial_schedule, fields=(), end_value=0.0, power=2.0)
def polynomial(context: Context, call: Any) -> Shape:
    """A power of what is left of the run."""
    return lambda steps, risen: call(1.0, transition_steps=steps)


@trick("shape", calls=schedules.exponential_decay, fields=(), decay_rate=0.01)
def exponential(context: Context, call: Any) -> Shape:
    """An exponential to the share `decay_rate` at the end."""
    return lambda steps, risen: call(1.0, steps)


@trick("shape", calls=schedules.natural_exp_decay, fields=(), decay_rate=4.6)
def natural_exp(context: Context, call: Any) -> Shape:
    """An exponential to exp(-`decay_rate`) at the end."""
    return lambda steps, risen: call(1.0, steps)


@trick("shape", calls=schedules.inverse_time_decay, fields=(), decay_rate=9.0)
def inverse_time(context: Context, call: Any) -> Shape:
    """A hyperbola to 1 / (1 + `decay_rate`) at the end."""
    return lambda steps, risen: call(1.0, steps)


@trick("shape", calls=schedules.linear_cosine_decay)
def linear_cosine(context: Context, call: Any) -> Shape:
    """A line times cosines."""
    return lambda steps, risen: call(1.0, steps)


@trick("shape", calls=schedules.noisy_linear_cosine_decay)
def noisy_linear_cosine(context: Context, call: Any) -> Shape:
    """A line with noise times cosines; the noise is that of key 0 in every run."""
    return lambda steps, risen: call(1.0, steps, key=jax.random.key(0))


def _drops(
    steps: int, risen: int, *, factor: float = 0.1, at: tuple[float, ...] = (0.5, 0.75)
) -> optax.Schedule:
    """Multiply by `factor` at each of these fractions of the run, the rise included.

    Args:
      steps: after the rise.
      risen: steps of the rise.
      factor: of each drop.
      at: the fractions.
    """
    for fraction in at:
        check_fraction("at", fraction)
    whole = steps + risen
    places = [max(round(x * whole) - risen, i + 1) for i, x in enumerate(at)]
    return schedules.piecewise_values_schedule(
        [factor**i for i in range(len(at) + 1)], places
    )


@trick("shape", calls=_drops, about=schedules.piecewise_constant_schedule, main="factor")
def steps(context: Context, call: Any) -> Shape:
    """Drops by a factor at fractions of the run, the rise included."""
    return call


def _cycles(
    steps: int,
    *,
    cycles: int = 4,
    base_value: float = 0.1,
    mode: CycleMode = "triangular",
) -> optax.Schedule:
    """Rise and fall between `base_value` and 1, `cycles` times.

    Args:
      steps: after the rise.
      cycles: how many.
      base_value: the share of the peak at the start of each.
      mode: how the height changes: "triangular", "triangular2" or "exp_range".
    """
    half = max(round(steps / (2 * cycles)), 1)
    return schedules.cyclical_schedule(base_value, 1.0, up_steps=half, mode=mode)


@trick("shape", calls=_cycles, about=schedules.cyclical_schedule, main="cycles")
def cyclical(context: Context, call: Any) -> Shape:
    """Rises and falls."""
    return lambda steps, risen: call(steps)


def _restarts(
    steps: int, *, first_fraction: float = 1 / 7, multiplier: int = 2, alpha: float = 0.0
) -> optax.Schedule:
    """Cosines that start anew; by default three, each twice as long as the one before.

    Args:
      steps: after the rise.
      first_fraction: of them in the first cosine.
      multiplier: by which each is longer than the one before.
      alpha: the lowest share of the peak.
    """
    first = max(round(first_fraction * steps), 1)
    return schedules.cosine_restarts_schedule(
        1.0, first, multiplier=multiplier, alpha=alpha
    )


@trick(
    "shape",
    calls=_restarts,
    about=schedules.cosine_restarts_schedule,
    main="first_fraction",
)
def cosine_restarts(context: Context, call: Any) -> Shape:
    """Cosines with warm restarts."""
    return lambda steps, risen: call(steps)


def _stable(
    steps: int, *, decay_fraction: float = 0.2, kind: Fall = "linear"
) -> optax.Schedule:
    """Stay at the peak, and fall in the last fraction of the run.

    Args:
      steps: after the rise.
      decay_fraction: of them in the fall.
      kind: of the fall, "linear" or "1-sqrt".
    """
    check_fraction("decay_fraction", decay_fraction)
    decay = max(round(decay_fraction * steps), 1)
    return schedules.wsd_schedule(
        1.0,
        warmup_steps=0,
        stable_steps=max(steps - decay, 0),
        decay_steps=decay,
        kind=kind,
    )


@trick("shape", calls=_stable, about=schedules.wsd_schedule, main="decay_fraction")
def wsd(context: Context, call: Any) -> Shape:
    """Stable, then decay; with `warm_up` before it the whole of its name."""
    return lambda steps, risen: call(steps)


@trick("shape", "warm_up", calls=schedules.onecycle_schedule)
def onecycle(context: Context, call: Any) -> tuple[Shape, None]:
    """One cycle, with a rise of its own."""
    return (lambda steps, risen: call(steps, 1.0)), None


def _rise(
    steps: int,
    steps_per_epoch: float,
    *,
    fraction: float = 0.1,
    epochs: float | None = None,
    init_value: float = 0.0,
) -> tuple[int, float]:
    """Return how many updates the rise takes, and the share that it starts from.

    Args:
      steps: of the run.
      steps_per_epoch: that update the parameters.
      fraction: of the run.
      epochs: in place of the fraction.
      init_value: the share at first.
    """
    check_fraction("fraction", fraction)
    if epochs is None:
        return whole(fraction * steps), init_value
    check_nonnegative("epochs", epochs)
    risen = whole(epochs * steps_per_epoch)
    if risen > steps:
        raise ValueError(
            f"epochs of warm_up must be at most the {steps / steps_per_epoch:g} of the"
            f" run, got {epochs}."
        )
    return risen, init_value


def whole(steps: float) -> int:
    """Return how many steps are full; 0.29 of 100 are 29, not 28."""
    return int(round(steps, 9))


@trick("warm_up", calls=_rise, about=schedules.warmup_schedule, main="fraction")
def warm_up(context: Context, call: Any) -> Callable[[int], tuple[int, float]]:
    """A linear rise over the first fraction of the run, or its first epochs."""
    return lambda steps: call(steps, context.steps_per_epoch / context.accumulated)


@trick(
    "unit", calls=schedules.linear_scaling, main="base_batch_size", base_batch_size=256
)
def linear_scaling(context: Context, call: Any) -> Callable[[Any], Any]:
    """The peak is that of a base batch: the rate grows with the batch."""
    size = context.batch_size * context.accumulated
    return lambda rate: call(rate, size)


@trick("unit", calls=schedules.sqrt_scaling, main="base_batch_size", base_batch_size=256)
def sqrt_scaling(context: Context, call: Any) -> Callable[[Any], Any]:
    """The peak is that of a base batch: the rate grows with the batch's square root."""
    size = context.batch_size * context.accumulated
    return lambda rate: call(rate, size)
