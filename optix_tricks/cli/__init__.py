"""The command line: `optix-tricks`; a command a file."""

import sys
import traceback
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from optix_tricks.cli._compilation_cache import keep_compiled_programs
from optix_tricks.cli._diagnose import diagnose
from optix_tricks.cli._lr_find import lr_find
from optix_tricks.cli._new import new
from optix_tricks.cli._options import UsageError, like
from optix_tricks.cli._train import train
from optix_tricks.cli._tricks import tricks

USAGE = """\
usage: optix-tricks list                              the recipes and what they claim
       optix-tricks train RECIPE [--field value ...]  train one; --help for its fields
       optix-tricks train ./mine.py [--with TRICK ..] train your own; so by dotted name
       optix-tricks train --resume RUN                continue a run that was stopped
       optix-tricks new mine.py                       write a recipe of your own to start
       optix-tricks tricks [NAME]                     all tricks by slot; or one's card
       optix-tricks lr-find RECIPE [--field value ..] test its learning rates; --help
       optix-tricks diagnose run RUN [--probe]        say what a run suffers from
       optix-tricks diagnose curvature RUN            a saddle, a minimum? how sharp?
       optix-tricks diagnose weight-norm [--parts ..] Page's experiments on weight decay
       optix-tricks report RUN                        draw a run's page and figures again
"""


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
    elif command in COMMANDS:
        keep_compiled_programs()
        COMMANDS[command](arguments)
    else:
        *others, last = COMMANDS
        raise UsageError(
            f"unknown command {command!r}: choose {', '.join(others)} or {last}."
            + like(command, COMMANDS)
        )


def _list(arguments: list[str]) -> None:
    from optix_tricks.recipes import RECIPES

    del arguments
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


COMMANDS = {
    "list": _list,
    "train": train,
    "new": new,
    "tricks": tricks,
    "lr-find": lr_find,
    "diagnose": diagnose,
    "report": _report,
}
