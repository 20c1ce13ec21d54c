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
from optix_tricks.recipes._own import is_own
from optix_tricks.recipes._own_run import OwnRun, reconfigured
from optix_tricks.recipes._packaged_run import PackagedRun
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
    path: PathLike,
    name: str,
    fields: dict[str, Any],
    *,
    accept_changed_file: bool = False,
    from_copy: bool = False,
) -> PackagedRun | OwnRun:
    """Return the settings of an earlier run, and what they are settings of.

    A file of one's own must be what it was; `from_copy` reads the run's copy instead,
    as is right for whoever only looks at it.

    Raises:
      RunError: if this version has no such recipe, or other settings; or the file of
        one's own recipe has changed and that is not accepted.
    """
    if is_own(name):
        return reconfigured(
            path,
            name,
            fields,
            accept_changed_file=accept_changed_file,
            from_copy=from_copy,
        )
    if name not in RECIPES:
        raise RunError(f"run {path} is of recipe {name!r}, which this version lacks.")
    try:
        return PackagedRun(RECIPES[name], RECIPES[name].Config(**fields))
    except TypeError as error:
        raise RunError(
            f"the settings in {Path(path) / 'config.json'} are not those of recipe "
            f"{name!r} in this version: {error}."
        ) from error
