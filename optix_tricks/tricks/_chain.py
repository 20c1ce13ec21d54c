"""The order of a chain, decided once: from the gradient to the parameters.

    unscale · accumulate · look twice · (delay · clip · noise · L2 · center · optimiser ·
    decoupled decay · groups · averages)

What stands further left sees the gradient first.
"""

from collections.abc import Mapping
from typing import Any

import optax
from jax.typing import ArrayLike

from optix_tricks.schedules import constant_schedule, warmup_schedule
from optix_tricks.training import Policy, scale_rate
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._setup import Setup

Parts = Mapping[str, Mapping[str, Any]]


def only(parts: Mapping[str, Any], default: Any = None) -> Any:
    """Return the part of an exclusive slot, or what stands for none."""
    return next(iter(parts.values()), default)


def shape_of_run(parts: Parts, context: Context) -> optax.Schedule:
    """Return the learning rate over the run, as a multiple of its peak."""
    shape = only(parts["shape"], lambda steps, risen: constant_schedule(1.0))
    rise = only(parts["warm_up"])
    steps = context.updates
    if rise is None:
        return shape(steps, 0)
    risen, start = rise(steps)
    fall = shape(max(steps - risen, 1), risen)
    return warmup_schedule(fall, warmup_steps=risen, init_value=start)


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
      learning_rate: in place of peak times shape, in the unit of the setup.
    """
    trick = setup.filled()["optimizer"][-1]
    rate = context.rate if learning_rate is None else in_unit(learning_rate, parts)
    link = only(parts["optimizer"])
    core = link(rate) if trick.peak is not None else link()
    links = [*parts["before"].values(), core]
    averages: list[optax.GradientTransformation] = []
    for each in setup.filled()["after"]:
        place = averages if each.place == "average" else links
        place.append(parts["after"][each.name])
    if setup.on_bad_number == "restore":
        links.append(scale_rate())
    links += averages
    tx = links[0] if len(links) == 1 else optax.chain(*links)
    for wrap in parts["around"].values():
        tx = wrap(tx)
    return only(parts["precision"], Policy()).optimizer(tx)


def peak_of(setup: Setup) -> ArrayLike:
    """Return the optimiser's own peak of the learning rate."""
    trick = setup.filled()["optimizer"][-1]
    return dict(trick.numbers)[trick.peak] if trick.peak is not None else 1.0


def in_unit(learning_rate: optax.Schedule, parts: Parts) -> optax.Schedule:
    """Return a rate as the optimiser takes it, of one in the unit of the setup."""
    scale = only(parts["unit"])
    return learning_rate if scale is None else lambda count: scale(learning_rate(count))
