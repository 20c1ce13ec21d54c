"""What the commands share: errors of usage, where a run goes, and flags of a recipe."""

import dataclasses
import datetime
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import tyro

from optix_tricks._checks import like


class UsageError(Exception):
    """A command that cannot be understood; exit code 2."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where the run goes."""

    run_dir: Path | None = None
    """the run's directory; runs/RECIPE-TIME if not given"""
    debug: bool = False
    """show the traceback of an error"""


def recipe_of(command: str, arguments: list[str]) -> tuple[str, ModuleType, list[str]]:
    """Return the recipe that is named first, and what comes after."""
    from optix_tricks.recipes import RECIPES

    if not arguments:
        raise UsageError(f"{command} needs a recipe: one of {', '.join(RECIPES)}.")
    name, *flags = arguments
    if name not in RECIPES:
        raise UsageError(
            f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}."
            + like(name, RECIPES)
        )
    return name, RECIPES[name], flags


def new_path(name: str) -> Path:
    """Return a directory for a run that starts now."""
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return Path("runs") / f"{name}-{time}"


def parse(
    command: str,
    name: str,
    recipe: ModuleType,
    fields: list[str],
    kind: type[RunOptions] = RunOptions,
) -> tuple[Any, Any]:
    def together(config: Any, options: Any) -> tuple[Any, Any]:
        return config, options

    together.__annotations__ |= {"config": recipe.Config, "options": kind}
    together.__doc__ = textwrap.dedent(recipe.__doc__ or "")
    return tyro.cli(
        together,
        prog=f"optix-tricks {command} {name}",
        args=fields,
        config=(tyro.conf.OmitArgPrefixes,),
    )
