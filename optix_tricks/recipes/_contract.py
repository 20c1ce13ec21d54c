"""What every recipe says of itself, and what its numbers must be."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from optix_tricks._checks import (
    check_count,
    check_decay,
    check_fraction,
    check_nonnegative,
    check_positive,
)
from optix_tricks.training import Dataset, steps_per_epoch


def _check_epochs(name: str, epochs: int | float) -> None:
    """Whole ones, at least one, where the recipe does not stop within an epoch."""
    if isinstance(epochs, float):
        check_positive(name, epochs)
    else:
        check_count(name, epochs, minimum=1)


CHECKS: dict[str, Callable[[str, Any], None]] = {
    "width": functools.partial(check_count, minimum=1),
    "epochs": _check_epochs,
    "whitening_bias_epochs": check_count,
    "image_size": functools.partial(check_count, minimum=1),
    "learning_rate": check_nonnegative,
    "weight_decay": check_nonnegative,
    "momentum": check_decay,
    "warmup_epochs": check_nonnegative,
    "warmup_fraction": check_fraction,
    "last_fraction": check_fraction,
    "bias_scale": check_positive,
    "bias_learning_rate": check_positive,
    "head_learning_rate": check_positive,
    "sgd_momentum": check_decay,
    "ns_steps": check_count,
    "label_smoothing": check_fraction,
    "padding": check_count,
    "shift": check_count,
    "cutout": check_count,
    "smallest_crop": check_fraction,
    "mixup": check_nonnegative,
    "cutmix": check_nonnegative,
}


class Claim(NamedTuple):
    """A result that was measured, where it comes from, and what it costs."""

    result: str  # number, spread, n
    source: str  # author, title, year
    cost: str  # time and device


def check_config(config: Any, dataset: Dataset) -> None:
    """Raise ValueError, naming the field, unless a recipe's numbers can be trained.

    Args:
      config: of any recipe; fields of the same name mean the same in all.
      dataset: to be trained on.
    """
    for field in dataclasses.fields(config):
        if field.name in CHECKS:
            CHECKS[field.name](field.name, getattr(config, field.name))
    steps_per_epoch(dataset.train.size, config.batch_size)
    mixup, cutmix = getattr(config, "mixup", 0.0), getattr(config, "cutmix", 0.0)
    if mixup and cutmix:
        raise ValueError(f"cutmix must be 0 where mixup is {mixup}, got {cutmix}.")
    warmup_epochs = getattr(config, "warmup_epochs", 0.0)
    if warmup_epochs > config.epochs:
        raise ValueError(
            f"warmup_epochs must be at most the {config.epochs} epochs, got "
            f"{warmup_epochs}."
        )
