"""Recipes: each file is one runnable result with every number in a dataclass.

A recipe module has `CLAIM`, `Config`, `make_optimizer(config, steps)` and
`build(config, dataset)`. `make_optimizer` takes another schedule than the recipe's as
`learning_rate`, in the unit of the field of that name.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

from optix_tricks.recipes import (
    cifar10_airbench94,
    cifar10_airbench94_muon,
    cifar10_airbench96,
    cifar10_resnet9,
    cifar10_resnet18,
    cifar100_resnet18,
    digits,
    imagenet_resnet50,
    imagenet_resnet50_lars,
)
from optix_tricks.training import RunError
from optix_tricks.training._dataset import PathLike

RECIPES: dict[str, ModuleType] = {
    "digits": digits,
    "cifar10_resnet9": cifar10_resnet9,
    "cifar10_resnet18": cifar10_resnet18,
    "cifar10_airbench94": cifar10_airbench94,
    "cifar10_airbench94_muon": cifar10_airbench94_muon,
    "cifar10_airbench96": cifar10_airbench96,
    "cifar100_resnet18": cifar100_resnet18,
    "imagenet_resnet50": imagenet_resnet50,
    "imagenet_resnet50_lars": imagenet_resnet50_lars,
}


def reconfigure(
    path: PathLike, name: str, fields: dict[str, Any]
) -> tuple[ModuleType, Any]:
    """Return the recipe of an earlier run and its settings.

    Raises:
      RunError: if this version has no such recipe, or other settings.
    """
    if name not in RECIPES:
        raise RunError(f"run {path} is of recipe {name!r}, which this version lacks.")
    try:
        return RECIPES[name], RECIPES[name].Config(**fields)
    except TypeError as error:
        raise RunError(
            f"the settings in {Path(path) / 'config.json'} are not those of recipe "
            f"{name!r} in this version: {error}."
        ) from error
