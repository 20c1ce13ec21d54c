"""From the shelf to the run: setups, and tricks that fill their slots.

A setup holds the parts of a training as one value, before anything is built. A trick
puts parts into it: `Setup(network).take(sgd(0.1), mixup(0.4))`. `setup.job(dataset)`
builds what `training.train` takes.
"""

from optix_tricks.tricks._card import card, summary
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._network import classifier
from optix_tricks.tricks._optimizers import optimizer
from optix_tricks.tricks._registry import TRICKS, find_trick
from optix_tricks.tricks._setup import EXCLUSIVE, PLACES, SLOTS, UNORDERED, Setup
from optix_tricks.tricks._trick import Level, Trick, trick

globals().update(TRICKS)

__all__ = [
    "EXCLUSIVE",
    "PLACES",
    "SLOTS",
    "TRICKS",
    "UNORDERED",
    "Context",
    "Level",
    "Setup",
    "Trick",
    "card",
    "classifier",
    "find_trick",
    "optimizer",
    "summary",
    "trick",
]
