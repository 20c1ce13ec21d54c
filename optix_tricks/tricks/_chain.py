"""The order of a chain, decided once: from the gradient to the parameters.

    unscale · accumulate · look twice · (delay · clip · noise · L2 · center · optimiser ·
    decoupled decay · groups · averages)

What stands further left sees the gradient first.
"""

from collections.abc import Callable, Mapping
from typing import Any

import optax

from optix_tricks.schedules import constant_schedule, warmup_schedule
from optix_tricks.training import Policy
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._setup import Setup

Parts = Mapping[str, Mapping[str, Any]]


def only(parts: Mapping[str, Any], default: Any = None) -> Any:
    """Return the part of an exclusive slot, or what stands for none."""
    return next(iter(parts.values()), default)


def shape_of_run(parts: Parts, context: Context) -> optax.Schedule:
    """Return the learning rate over the run, as a multiple of its peak."""
    shape = only(parts["shape"], lambda steps: constant_schedule(1.0))
    rise = only(parts["warm_up"])
    steps = context.updates
    if rise is None:
        return shape(steps)
    warm, start = rise(steps)
    fall = shape(max(steps - warm, 1))
    return warmup_schedule(fall, warmup_steps=warm, init_value=start)


def make_optimizer(
    setup: Setup,
    parts: Parts,
    context: Context,
    *,
    learning_rate: optax.Schedule | None = None,
) -> optax.GradientTransformation:
    """Compose the optimiser of a setup.

    Args:
      setup: with a trick in its optimiser's slot.
      parts: of the setup.
      context: of the run.
      learning_rate: in place of peak times shape, in the optimiser's own unit.
    """
    trick = setup.filled()["optimizer"][-1]
    rate = learning_rate or context.rate
    link = only(parts["optimizer"])
    core = link(rate) if trick.peak is not None else link()
    links = [*parts["before"].values(), core, *parts["after"].values()]
    tx = links[0] if len(links) == 1 else optax.chain(*links)
    for wrap in parts["around"].values():
        tx = wrap(tx)
    return only(parts["precision"], Policy()).optimizer(tx)


def peak_times(setup: Setup, shape: optax.Schedule) -> Callable[[Any], Any]:
    """Return the schedule of the learning rate, of the optimiser's own peak."""
    trick = setup.filled()["optimizer"][-1]
    peak = dict(trick.numbers)[trick.peak] if trick.peak is not None else 1.0
    return lambda count: peak * shape(count)
