"""Recipes: each file is one runnable result with every number in a dataclass.

A recipe module has `CLAIM`, `Config`, `make_optimizer(config, steps)` and
`build(config, dataset)`. `make_optimizer` takes another schedule than the recipe's as
`learning_rate`, in the unit of the field of that name.
"""

from types import ModuleType

from optix_tricks.recipes import (
    cifar10_resnet9,
    cifar10_resnet18,
    cifar100_resnet18,
    digits,
    imagenet_resnet50,
    imagenet_resnet50_lars,
)

RECIPES: dict[str, ModuleType] = {
    "digits": digits,
    "cifar10_resnet9": cifar10_resnet9,
    "cifar10_resnet18": cifar10_resnet18,
    "cifar100_resnet18": cifar100_resnet18,
    "imagenet_resnet50": imagenet_resnet50,
    "imagenet_resnet50_lars": imagenet_resnet50_lars,
}
