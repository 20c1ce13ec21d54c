"""All tricks by name, one family a file."""

from types import ModuleType

from optix_tricks._checks import like
from optix_tricks.tricks import (
    _augmentation,
    _averages,
    _decays,
    _functions,
    _gradients,
    _kernels,
    _losses,
    _mixing,
    _norms,
    _optimizers,
    _precisions,
    _rates,
    _starts,
)
from optix_tricks.tricks._trick import Trick

FAMILIES: dict[str, ModuleType] = {
    "optimisers": _optimizers,
    "rates": _rates,
    "decays": _decays,
    "gradients": _gradients,
    "averages": _averages,
    "losses": _losses,
    "augmentation": _augmentation,
    "mixing": _mixing,
    "norms": _norms,
    "kernels": _kernels,
    "starts": _starts,
    "functions": _functions,
    "precision": _precisions,
}


def _of(family: ModuleType) -> dict[str, Trick]:
    own = {x.name: x for x in vars(family).values() if isinstance(x, Trick)}
    return own | getattr(family, "INITIALIZERS", {})


TRICKS: dict[str, Trick] = {
    name: each for family in FAMILIES.values() for name, each in _of(family).items()
}


def find_trick(name: str) -> Trick:
    """Return the trick of this name.

    Raises:
      ValueError: if there is none; names the nearest.
    """
    if name not in TRICKS:
        raise ValueError(f"there is no trick {name!r}.{like(name, TRICKS)}")
    return TRICKS[name]
