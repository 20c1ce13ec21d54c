"""All tricks by name, one family a file, and those that others install."""

from importlib.metadata import entry_points
from types import ModuleType

from optix_tricks._nearest import like
from optix_tricks.tricks import (
    _airbench,
    _augmentation,
    _averages,
    _decays,
    _epochs,
    _functions,
    _gradients,
    _hardest,
    _kernels,
    _losses,
    _metric,
    _mixing,
    _networks,
    _norms,
    _optimizers,
    _precisions,
    _pretraining,
    _rates,
    _starts,
    _teaching,
)
from optix_tricks.tricks._trick import Trick

FAMILIES: dict[str, ModuleType] = {
    "networks": _networks,
    "optimisers": _optimizers,
    "rates": _rates,
    "decays": _decays,
    "gradients": _gradients,
    "averages": _averages,
    "losses": _losses,
    "heads": _metric,
    "augmentation": _augmentation,
    "mixing": _mixing,
    "filtering": _hardest,
    "norms": _norms,
    "kernels": _kernels,
    "starts": _starts,
    "functions": _functions,
    "precision": _precisions,
    "airbench": _airbench,
    "epochs": _epochs,
    "pretraining": _pretraining,
    "teaching": _teaching,
}
GROUP = "optix_tricks.tricks"  # of entry points, each a trick


def of_family(family: ModuleType) -> dict[str, Trick]:
    """Return the tricks of a family by name."""
    own = {x.name: x for x in vars(family).values() if isinstance(x, Trick)}
    return own | getattr(family, "INITIALIZERS", {})


TRICKS: dict[str, Trick] = {
    name: each for family in FAMILIES.values() for name, each in of_family(family).items()
}


def find_trick(name: str) -> Trick:
    """Return the trick of this name; of a dotted name, `named` of that optimiser.

    >>> print(find_trick("optax.contrib.prodigy")(1.0))
    named(of='optax.contrib.prodigy', learning_rate=1.0)

    Raises:
      ValueError: if there is none; names the nearest.
    """
    if name in TRICKS:
        return TRICKS[name]
    if "." in name:
        return TRICKS["named"](of=name)
    installed = {each.name: each for each in entry_points(group=GROUP)}
    if name in installed:
        return installed[name].load()
    known = [*TRICKS, *installed]
    raise ValueError(f"there is no trick {name!r}.{like(name, known)}")
