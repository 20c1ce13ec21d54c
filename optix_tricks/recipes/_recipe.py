"""A recipe: a module of the package, of another, or a file, with `setup()`."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from optix_tricks.recipes._claim import Claim
from optix_tricks.training import Dataset, RunError
from optix_tricks.tricks import TRICKS, Setup, Trick, find_trick


class Recipe(NamedTuple):
    """What a module exports.

    Attributes:
      name: as it was given: of the package, an entry point, a dotted name or a path.
      path: of its source.
      setup: makes the setup.
      data: makes the data; None takes a data set by name.
      dataset: that name, if nobody says another.
      tricks: of its own, by name, beside those of the package.
      claim: what was measured, if anything.
      about: its docstring.
    """

    name: str
    path: Path
    setup: Callable[[], Setup]
    data: Callable[[], Dataset] | None = None
    dataset: str = "digits"
    tricks: Mapping[str, Trick] = {}
    claim: Claim | None = None
    about: str = ""

    def trick(self, name: str) -> Trick:
        """Return the trick of this name, its own or the package's."""
        return self.tricks[name] if name in self.tricks else find_trick(name)


def is_own(name: str) -> bool:
    """Whether a name is a file's or a module's, and no installed recipe's."""
    return name.endswith(".py") or "." in name


def load_own(name: str) -> Recipe:
    """Import a recipe from a file or by its dotted name.

    Raises:
      RunError: if there is none, it raises, or it lacks `setup`. Names the line.
    """
    module = _from_file(Path(name)) if name.endswith(".py") else _from_module(name)
    return recipe_of(name, module)


def recipe_of(name: str, module: ModuleType) -> Recipe:
    """Return what a module exports.

    Raises:
      RunError: if it lacks `setup`, or a trick of its own has a name of the package's.
    """
    if not callable(getattr(module, "setup", None)):
        raise RunError(f"{name} must define setup(), which returns a tricks.Setup.")
    own = {each.name: each for each in getattr(module, "TRICKS", ())}
    if both := sorted(own.keys() & TRICKS.keys()):
        raise RunError(f"{name}: trick {both[0]!r} is one of the package: rename yours.")
    source = Path(str(module.__file__))
    return Recipe(
        name=name,
        path=source,
        setup=_setup_of(name, explained(module.setup, source)),
        data=getattr(module, "data", None),
        dataset=getattr(module, "DATASET", "digits"),
        tricks=own,
        claim=getattr(module, "CLAIM", None),
        about=module.__doc__ or "",
    )


def _setup_of(name: str, function: Callable[[], Any]) -> Callable[[], Setup]:
    def setup() -> Setup:
        made = function()
        if not isinstance(made, Setup):
            raise RunError(
                f"setup() of {name} must return a tricks.Setup, got a"
                f" {type(made).__name__}."
            )
        return made

    return setup


def explained(function: Callable[..., Any], source: Path) -> Callable[..., Any]:
    """Let what a function of a file raises name the line of that file."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except RunError:
            raise
        except Exception as error:
            raise RunError(_where(error, source)) from error

    return call


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise RunError(f"there is no file {path}.")
    name = f"_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    explained(spec.loader.exec_module, path)(module)
    return module


def _from_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            raise RunError(
                f"there is no module {name!r}: give a file, ./mine.py, or install it."
            ) from error
        raise RunError(f"{name}: {error}.") from error
    except Exception as error:
        raise RunError(_where(error, None)) from error


def _where(error: BaseException, source: Path | None) -> str:
    """The user's line, not ours: the last frame of the file, or else of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if source is not None and Path(f.filename) == source]
    frame = (own or frames)[-1]
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {what}"
    return f"{frame.filename}, line {frame.lineno}, `{frame.line}`: {what}"
