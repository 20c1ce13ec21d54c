"""What every recipe says of itself, and what its numbers must be."""

from typing import Any, NamedTuple

from optix_tricks._checks import (
    check_count,
    check_decay,
    check_fraction,
    check_nonnegative,
)
from optix_tricks.training.dataset import Dataset
from optix_tricks.training.epoch import steps_per_epoch


class Claim(NamedTuple):
    """A result that was measured, where it comes from, and what it costs."""

    result: str  # number, spread, n
    source: str  # author, title, year
    cost: str  # time and device


def check_config(config: Any, dataset: Dataset) -> None:
    """Raise ValueError, naming the field, unless a recipe's numbers can be trained.

    Args:
      config: with the fields that all recipes share.
      dataset: to be trained on.
    """
    for name in ("width", "epochs"):
        check_count(name, getattr(config, name), minimum=1)
    steps_per_epoch(len(dataset.train_labels), config.batch_size)
    for name in ("learning_rate", "weight_decay"):
        check_nonnegative(name, getattr(config, name))
    check_decay("momentum", config.momentum)
    for name in ("warmup_fraction", "label_smoothing"):
        check_fraction(name, getattr(config, name))
