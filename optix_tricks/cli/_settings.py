"""A recipe and the flags behind it: its tricks, more or fewer of them, their numbers."""

import argparse
import dataclasses
from typing import Annotated, Any, Literal

import tyro

from optix_tricks.cli._config import configured
from optix_tricks.cli._deterministic import make_deterministic
from optix_tricks.cli._options import RunOptions, UsageError, filled, like, parsed
from optix_tricks.cli._positional import Recipe

SEEDS = 2**32  # of a key's 32 bits: a negative one would mean another's
OF_DATA = (
    "dataset",
    "data_dir",
    "seed",
    "validation",
    "deterministic",
    "stream",
    "picture_size",
)
TRICKS_BY_FLAG = """\
Behind a recipe's name --help shows its numbers too: --TRICK.NUMBER, or --NUMBER where
one trick alone has it. `optix-tricks list` has all recipes, `tricks` all tricks."""
Some = tyro.conf.UseAppendAction[tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Changes:
    """What is other than the recipe says."""

    added: Annotated[Some, tyro.conf.arg(name="with", metavar="TRICK[=NUMBER]")] = ()
    """put a trick on, with its main number; as often as you like"""
    removed: Annotated[Some, tyro.conf.arg(name="without", metavar="TRICK")] = ()
    """take one away; as often as you like"""
    begun_from: Annotated[str | None, tyro.conf.arg(name="from", metavar="RUN")] = None
    """begin with the weights of another run"""
    config: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """take tricks and numbers from a run's config.json, or the run's directory"""


@dataclasses.dataclass(frozen=True)
class AnyRecipe:
    """What is trained."""

    recipe: Recipe
    """of `optix-tricks list`, a file, ./mine.py, or a module by its dotted name"""


def any_recipe(options_kind: Any, changes: Any = Changes) -> Any:
    """The options of a command before it is known of which recipe."""

    def together(recipe: Any, changes: Any, options: Any) -> None:
        del recipe, changes, options

    flat = tyro.conf.arg(name="")
    together.__annotations__ |= {
        "recipe": Annotated[AnyRecipe, flat],
        "changes": Annotated[changes, flat],
        "options": Annotated[options_kind, flat],
    }
    together.__doc__ = ""
    return together


def settings_of(
    command: str, arguments: list[str], options_kind: type[Any] = RunOptions
) -> tuple[Any, Any]:
    """Return the run that a recipe and flags come to, and the command's own options.

    `--with name` and `--with name=number` put a trick on, `--without name` takes one
    away, `--from run` begins with the weights of another run, `--name.number` sets a
    number, and `--number` where one trick alone has it. `--config file` gives what a run
    was, before all these.
    """
    if arguments[:1] in (["--help"], ["-h"]):
        parsed(any_recipe(options_kind), command, TRICKS_BY_FLAG, ["--help"])
    from optix_tricks.recipes import RECIPES, new_run
    from optix_tricks.recipes._recipe import is_own
    from optix_tricks.recipes._run import with_tricks
    from optix_tricks.training import RunError
    from optix_tricks.tricks import find_trick

    has_name = arguments and not arguments[0].startswith("-")
    name, flags = (arguments[0], arguments[1:]) if has_name else (None, arguments)
    first = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    first.add_argument("--with", action="append", default=[], dest="added")
    first.add_argument("--without", action="append", default=[], dest="removed")
    first.add_argument("--from", dest="begun_from")
    first.add_argument("--config")
    try:
        chosen, rest = first.parse_known_args(flags)
    except argparse.ArgumentError as error:
        raise UsageError(
            "--with and --without take the name of a trick, --from a run's directory,"
            " --config a file."
        ) from error
    if name is None and chosen.config is None:
        raise UsageError(f"{command} needs a recipe: one of {', '.join(RECIPES)}.")
    try:
        begun = configured(chosen.config, name) if chosen.config else new_run(str(name))
        run = with_tricks(begun, chosen.added, chosen.removed)
        if chosen.begun_from:
            weights = find_trick("pretrained")(run=chosen.begun_from)
            run = dataclasses.replace(run, setup=run.setup.take(weights))
    except RunError as error:
        raise error if is_own(name or "") else UsageError(str(error)) from error
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    kind = _settings(run)
    values, options = tyro.cli(
        _together(kind, options_kind),
        prog=f"optix-tricks {command} {run.recipe.name}",
        description=filled(f"{run.recipe.about}\n\n{TRICKS_BY_FLAG}"),
        args=_spelled_out(run.setup, kind, options_kind, rest),
    )
    setup = run.setup.change(
        **{
            field: vars(x) if dataclasses.is_dataclass(x) else x
            for field, x in vars(values).items()
            if field not in OF_DATA
        }
    )
    own = {name: x for name, x in vars(values).items() if name in OF_DATA}
    if own.get("stream") == bool(run.stream):
        own["stream"] = run.stream  # None where nothing was said
    run = dataclasses.replace(run, setup=setup, **own)
    if not 0 <= run.seed < SEEDS:
        raise UsageError(f"--seed must be from 0 to {SEEDS - 1}, got {run.seed}.")
    if run.deterministic:
        make_deterministic()
    return run, options


def _together(kind: type, options_kind: type) -> Any:
    def together(settings: Any, changes: Any, options: Any) -> tuple[Any, Any]:
        del changes  # which have been made, and stand in the help alone
        return settings, options

    flat = tyro.conf.arg(name="")
    together.__annotations__ |= {
        "settings": Annotated[kind, flat],
        "changes": Annotated[Changes, flat],
        "options": Annotated[options_kind, flat],
    }
    return together


def _settings(run: Any) -> type:
    """A dataclass of the run's numbers, with one of each trick's within."""
    from optix_tricks.tricks._setup import OF_RUN, ON_BAD_NUMBER

    fields: list[Any] = []
    kinds: dict[str, Any] = {
        "epochs": int | float,
        "checkpoint_every": int | str,
        "keep_best": str | None,
        "on_bad_number": Literal[ON_BAD_NUMBER],
    }
    for name in OF_RUN:
        kind = kinds.get(name, int)
        fields.append((name, kind, getattr(run.setup, name)))
    fields += [("seed", int, run.seed), ("validation", float, run.validation)]
    fields += [("deterministic", bool, run.deterministic)]
    if run.recipe.data is None:
        fields += [("dataset", str, run.dataset), ("data_dir", str | None, run.data_dir)]
        fields += [("stream", bool, bool(run.stream))]
        fields += [("picture_size", int | None, run.picture_size)]
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
    setup: Any, kind: type, options_kind: type[Any], flags: list[str]
) -> list[str]:
    """Give a number the name of its trick, as `Setup.change` finds it."""
    base = {field.name for field in dataclasses.fields(kind)} - {
        each.name for each in setup.tricks
    }
    base |= {field.name for field in dataclasses.fields(options_kind)} | {"help"}
    spelled = []
    for flag in flags:
        word, equals, value = flag.removeprefix("--").partition("=")
        name = word.removeprefix("no-").replace("-", "_")
        trick, _, _ = name.partition(".")
        if flag.startswith("--") and name not in base:
            if "." in word:
                _check_there(setup, trick)
            else:
                try:
                    owner, number = setup.owner(name)
                except (TypeError, ValueError) as error:
                    raise UsageError(_said(setup, name, error)) from error
                no = "no-" if word.startswith("no-") else ""
                flag = f"--{owner}.{no}{number}{equals}{value}".replace("_", "-")
        spelled.append(flag)
    return spelled


def _check_there(setup: Any, trick: str) -> None:
    there = [each.name for each in setup.tricks]
    if trick not in there:
        raise UsageError(
            f"the setup has no trick {trick}: put it on by --with {trick}."
            + like(trick, there)
        )


def _said(setup: Any, name: str, error: Exception) -> str:
    from optix_tricks.tricks import TRICKS

    if name in TRICKS and name not in [each.name for each in setup.tricks]:
        return f"the setup has no trick {name}: put it on by --with {name}=NUMBER."
    return str(error)
