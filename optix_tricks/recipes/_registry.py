"""All recipes by name: those of the package, and those that others install."""

from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from optix_tricks._nearest import like
from optix_tricks.recipes import (
    cifar10_airbench94,
    cifar10_airbench94_muon,
    cifar10_airbench96,
    cifar10_airbench96_filtered,
    cifar10_resnet9,
    cifar10_resnet18,
    cifar100_resnet18,
    digits,
    imagenet_resnet50,
    imagenet_resnet50_lars,
    tabular_mlp,
    text_transformer,
)
from optix_tricks.recipes._recipe import Recipe, is_own, load_own, recipe_of
from optix_tricks.training import RunError

RECIPES: dict[str, ModuleType] = {
    "digits": digits,
    "tabular_mlp": tabular_mlp,
    "text_transformer": text_transformer,
    "cifar10_resnet9": cifar10_resnet9,
    "cifar10_resnet18": cifar10_resnet18,
    "cifar10_airbench94": cifar10_airbench94,
    "cifar10_airbench94_muon": cifar10_airbench94_muon,
    "cifar10_airbench96": cifar10_airbench96,
    "cifar10_airbench96_filtered": cifar10_airbench96_filtered,
    "cifar100_resnet18": cifar100_resnet18,
    "imagenet_resnet50": imagenet_resnet50,
    "imagenet_resnet50_lars": imagenet_resnet50_lars,
}
GROUP = "optix_tricks.recipes"  # of entry points, each a module with `setup()`


def _installed() -> dict[str, EntryPoint]:
    return {each.name: each for each in entry_points(group=GROUP)}


def is_recipe(name: str) -> bool:
    """Whether a name is that of a recipe, or could be: a file, a module."""
    return is_own(name) or name in RECIPES or name in _installed()


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a name, a dotted name or a path.

    Raises:
      RunError: if there is none, or it cannot be imported; names the nearest.
    """
    if name in RECIPES:
        return recipe_of(name, RECIPES[name])
    if is_own(name):
        return load_own(name)
    installed = _installed()
    if name in installed:
        return recipe_of(name, installed[name].load())
    known = [*RECIPES, *installed]
    raise RunError(
        f"unknown recipe {name!r}: choose one of {', '.join(known)}, or give a file,"
        f" ./mine.py.{like(name, known)}"
    )
