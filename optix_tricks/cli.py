"""The command line: `optix-tricks list | train RECIPE | report RUN`."""

import dataclasses
import datetime
import difflib
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import tyro
from rich.console import Console
from rich.table import Table

USAGE = """\
usage: optix-tricks list                              the recipes and what they claim
       optix-tricks train RECIPE [--field value ...]  train one; --help for its fields
       optix-tricks train --resume RUN                continue a run that was stopped
       optix-tricks report RUN                        draw a run's page and figures again
"""


class UsageError(Exception):
    """A command that cannot be understood; exit code 2."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where the run goes."""

    run_dir: Path | None = None
    """the run's directory; runs/RECIPE-TIME if not given"""
    debug: bool = False
    """show the traceback of an error"""


def main(argv: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 failed at run time, 2 wrong usage."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        _dispatch(argv)
    except UsageError as error:
        _fail(error, 2, argv)
    except KeyboardInterrupt as stop:
        print(f"stopped{stop}", file=sys.stderr)
        sys.exit(130)
    except (RuntimeError, ValueError, OSError) as error:
        _fail(error, 1, argv)


def _fail(error: BaseException, code: int, argv: list[str]) -> NoReturn:
    if "--debug" in argv:
        traceback.print_exception(error)
    print(f"error: {error}", file=sys.stderr)
    sys.exit(code)


def _dispatch(argv: list[str]) -> None:
    command, arguments = (argv[0], argv[1:]) if argv else ("--help", [])
    if command in ("--help", "-h"):
        print(USAGE, end="")
    elif command == "list":
        _list()
    elif command == "train":
        _train(arguments)
    elif command == "report":
        _report(arguments)
    else:
        raise UsageError(
            f"unknown command {command!r}: choose list, train or report.{_like(command)}"
        )


def _like(word: str, known: tuple[str, ...] = ("list", "train", "report")) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _list() -> None:
    from optix_tricks.recipes import RECIPES

    table = Table("recipe", "claim", "cost", "source")
    for name, recipe in RECIPES.items():
        table.add_row(
            f"[bold]{name}", recipe.CLAIM.result, recipe.CLAIM.cost, recipe.CLAIM.source
        )
    Console().print(table)


def _report(arguments: list[str]) -> None:
    from optix_tricks.reports import write_report

    paths = [argument for argument in arguments if argument != "--debug"]
    if len(paths) != 1 or paths[0].startswith("-"):
        raise UsageError(
            "report takes one run directory, got " + (" ".join(paths) or "none") + "."
        )
    print(write_report(Path(paths[0])))


def _train(arguments: list[str]) -> None:
    from optix_tricks.recipes import RECIPES
    from optix_tricks.training.run_directory import RunDirectory, RunError

    if "--resume" in arguments:
        path, wanted = _resumed(arguments)
        run, name, fields = RunDirectory.reopen(path)
        if name not in RECIPES:
            raise RunError(f"run {path} is of recipe {name!r}, which this version lacks.")
        if wanted not in (None, name):
            raise UsageError(f"run {path} is of recipe {name!r}, got {wanted!r}.")
        recipe = RECIPES[name]
        try:
            config = recipe.Config(**fields)
        except TypeError as error:
            raise RunError(
                f"the settings in {path / 'config.json'} are not those of recipe "
                f"{name!r} in this version: {error}."
            ) from error
        _run(recipe, config, lambda: run, resume=True)
        return
    if not arguments:
        raise UsageError(f"train needs a recipe: one of {', '.join(RECIPES)}.")
    name, *flags = arguments
    if name not in RECIPES:
        raise UsageError(
            f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}."
            + _like(name, tuple(RECIPES))
        )
    recipe = RECIPES[name]
    config, options = _parse(name, recipe, flags)
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    path = options.run_dir or Path("runs") / f"{name}-{time}"

    def start() -> RunDirectory:
        return RunDirectory.start(path, recipe=name, config=dataclasses.asdict(config))

    _run(recipe, config, start, resume=False)


def _resumed(arguments: list[str]) -> tuple[Path, str | None]:
    """The run to resume, and the recipe if the user named it."""
    match [argument for argument in arguments if argument != "--debug"]:
        case ["--resume", path]:
            return Path(path), None
        case [recipe, "--resume", path] if not recipe.startswith("-"):
            return Path(path), recipe
    raise UsageError(
        "--resume RUN stands alone: the run's settings are those in its config.json; "
        "start a new run to change them."
    )


def _parse(name: str, recipe: ModuleType, fields: list[str]) -> tuple[Any, RunOptions]:
    def together(config: Any, options: RunOptions) -> tuple[Any, RunOptions]:
        return config, options

    together.__annotations__["config"] = recipe.Config
    together.__doc__ = textwrap.dedent(recipe.__doc__ or "")
    return tyro.cli(
        together,
        prog=f"optix-tricks train {name}",
        args=fields,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _run(
    recipe: ModuleType, config: Any, directory: Callable[[], Any], *, resume: bool
) -> None:
    from optix_tricks.reports import write_report
    from optix_tricks.training.data import load_dataset
    from optix_tricks.training.loop import train

    dataset = load_dataset(config.dataset, data_dir=config.data_dir)
    try:
        job = recipe.build(config, dataset)
    except ValueError as error:
        raise UsageError(str(error)) from error
    run = directory()  # only now: a wrong argument leaves nothing behind
    console = Console()
    with run:
        console.print(
            f"{dataset.name}: {len(dataset.train_labels):,} training and "
            f"{len(dataset.test_labels):,} test images, {dataset.num_classes} classes; "
            f"run directory {run.path}",
            highlight=False,
        )
        try:
            _, result = train(job, dataset, run, resume=resume)
        except KeyboardInterrupt as stop:
            way_out = f"; continue with: optix-tricks train --resume {run.path}"
            raise KeyboardInterrupt(way_out) from stop
    page = write_report(run.path)
    table = Table(show_header=False)
    table.add_row("test accuracy", f"[bold]{result.test_accuracy:.2%}")
    table.add_row("correct", f"{result.test_correct:,} of {result.test_size:,}")
    table.add_row("test loss", f"{result.test_loss:.4f}")
    table.add_row("epochs", f"{result.epochs} ({result.steps:,} steps)")
    table.add_row("training time", f"{result.seconds:.1f} s, evaluation not counted")
    table.add_row("parameters", f"{result.parameters:,}")
    table.add_row("curves", str(page.parent / "figures" / "curves.png"))
    table.add_row("page", str(page))
    console.print(table)
