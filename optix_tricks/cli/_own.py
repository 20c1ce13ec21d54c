"""Flags of one's own recipe: its tricks, more or fewer of them, and their numbers."""

import argparse
import dataclasses
from typing import Annotated, Any

import tyro

from optix_tricks.cli._options import RunOptions, UsageError, like
from optix_tricks.recipes._own import OwnRecipe
from optix_tricks.recipes._own_run import OwnRun, with_tricks

OF_DATA = ("dataset", "data_dir", "seed")


def own_run(
    command: str,
    recipe: OwnRecipe,
    flags: list[str],
    options_kind: type[Any] = RunOptions,
) -> tuple[OwnRun, Any]:
    """Return the run that a recipe and flags come to.

    `--with name` and `--with name=number` put a trick on, `--without name` takes one
    away, `--name.number` sets a number, and `--number` where one trick alone has it.
    """
    first = argparse.ArgumentParser(
        prog=f"optix-tricks {command} {recipe.name}", add_help=False, allow_abbrev=False
    )
    first.add_argument("--with", action="append", default=[], dest="added")
    first.add_argument("--without", action="append", default=[], dest="removed")
    chosen, rest = first.parse_known_args(flags)
    try:
        setup = with_tricks(recipe, recipe.setup(), chosen.added, chosen.removed)
    except ValueError as error:
        raise UsageError(str(error)) from error
    run = OwnRun(recipe, setup, dataset="digits" if recipe.data is None else None)
    kind = _settings(run)
    values, options = tyro.cli(
        _together(kind, options_kind),
        prog=f"optix-tricks {command} {recipe.name}",
        description="--with NAME[=NUMBER] and --without NAME change the tricks",
        args=_spelled_out(run, kind, options_kind, rest),
    )
    numbers = {each.name: getattr(values, each.name, None) for each in setup.tricks}
    tricks = tuple(
        each if numbers[each.name] is None else each(**vars(numbers[each.name]))
        for each in setup.tricks
    )
    setup = dataclasses.replace(
        setup, epochs=values.epochs, batch_size=values.batch_size, tricks=tricks
    )
    own = {name: x for name, x in vars(values).items() if name in OF_DATA}
    return dataclasses.replace(run, setup=setup, **own), options


def _together(kind: type, options_kind: type) -> Any:
    def together(settings: Any, options: Any) -> tuple[Any, Any]:
        return settings, options

    flat = tyro.conf.arg(name="")
    together.__annotations__ |= {
        "settings": Annotated[kind, flat],
        "options": Annotated[options_kind, flat],
    }
    return together


def _settings(run: OwnRun) -> type:
    """A dataclass of the run's numbers, with one of each trick's within."""
    fields: list[Any] = [
        ("epochs", int | float, run.setup.epochs),
        ("batch_size", int, run.setup.batch_size),
        ("seed", int, run.seed),
    ]
    if run.recipe.data is None:
        fields += [("dataset", str, run.dataset), ("data_dir", str | None, run.data_dir)]
    for each in run.setup.tricks:
        if each.numbers:
            own = [(name, _kind(x), x) for name, x in each.numbers]
            made = dataclasses.make_dataclass(each.name, own, frozen=True)
            fields.append((each.name, made, dataclasses.field(default_factory=made)))
    return dataclasses.make_dataclass("Settings", fields, frozen=True)


def _kind(value: Any) -> Any:
    if value is None:
        return float | None
    if isinstance(value, tuple):
        return tuple[tuple(type(x) for x in value)]  # type: ignore[misc]
    return type(value)


def _spelled_out(
    run: OwnRun, kind: type, options_kind: type[Any], flags: list[str]
) -> list[str]:
    """Give a number the name of its trick where one trick alone has it."""
    base = {field.name for field in dataclasses.fields(kind)}
    base |= {field.name for field in dataclasses.fields(options_kind)} | {"help"}
    spelled = []
    for flag in flags:
        word, equals, value = flag.removeprefix("--").partition("=")
        name = word.removeprefix("no-").replace("-", "_")
        if flag.startswith("--") and "." not in word and name not in base:
            owners = [t.name for t in run.setup.tricks if name in dict(t.numbers)]
            if len(owners) > 1:
                raise UsageError(
                    f"--{word} is a number of {' and '.join(owners)}: say"
                    f" --{owners[0]}.{word}."
                )
            if not owners:
                known = [*base, *(n for t in run.setup.tricks for n, _ in t.numbers)]
                raise UsageError(f"there is no number {word!r}.{like(name, known)}")
            no = "no-" if word.startswith("no-") else ""
            flag = f"--{owners[0]}.{no}{name.replace('_', '-')}{equals}{value}"
        spelled.append(flag)
    return spelled
