"""From the shelf to the run: setups, and tricks that fill their slots.

A setup holds the parts of a training as one value, before anything is built. A trick
puts parts into it: `Setup(network).take(sgd(0.1), mixup(0.4))`. `setup.job(dataset)`
builds what `training.train` takes.
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.tricks._card import card, summary
from optix_tricks.tricks._context import Context, Earlier
from optix_tricks.tricks._effects import MeasuredEffect, measured_effects
from optix_tricks.tricks._network import classifier
from optix_tricks.tricks._optimizers import optimizer
from optix_tricks.tricks._registry import TRICKS, find_trick
from optix_tricks.tricks._setup import EXCLUSIVE, PLACES, SLOTS, UNORDERED, Setup
from optix_tricks.tricks._trick import Level, Trick, trick

__all__ = [
    "EXCLUSIVE",
    "PLACES",
    "SLOTS",
    "TRICKS",
    "UNORDERED",
    "Context",
    "Earlier",
    "Level",
    "MeasuredEffect",
    "Setup",
    "Trick",
    "card",
    "classifier",
    "find_trick",
    "measured_effects",
    "optimizer",
    "summary",
    "trick",
]


def __getattr__(name: str) -> Trick:
    """A trick of the package, or one that another installs."""
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return find_trick(name)
    except ValueError as error:
        raise AttributeError(str(error)) from error


def __dir__() -> list[str]:
    return [*__all__, *TRICKS]


check_arguments(__name__)
