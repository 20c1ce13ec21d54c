"""The command line: `optix-tricks`; a command a file."""

import contextlib
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from optix_tricks._extras import absence
from optix_tricks.cli._ablate import ablate
from optix_tricks.cli._compilation_cache import keep_compiled_programs
from optix_tricks.cli._compile import compile_step
from optix_tricks.cli._diagnose import diagnose
from optix_tricks.cli._evaluate import evaluate
from optix_tricks.cli._export import export
from optix_tricks.cli._lr_find import lr_find
from optix_tricks.cli._new import new
from optix_tricks.cli._options import UsageError, like
from optix_tricks.cli._predict import predict
from optix_tricks.cli._show import show
from optix_tricks.cli._sweep import sweep
from optix_tricks.cli._train import train
from optix_tricks.cli._tricks import tricks
from optix_tricks.cli._warnings import plain_warnings

USAGE = """\
usage: optix-tricks list                              the recipes and what they claim
       optix-tricks show RECIPE [--with TRICK ...]    its network, tricks and numbers
       optix-tricks train RECIPE [--with TRICK ...]   train one; --help for its numbers
       optix-tricks train ./mine.py [...]             train your own; so by dotted name
       optix-tricks train RECIPE --from RUN           begin with the weights of a run
       optix-tricks train --resume RUN                continue a run that was stopped
       optix-tricks evaluate RUN [--dataset NAME]     test a run, on other data too
       optix-tricks predict RUN FILE...               say what is in pictures or arrays
       optix-tricks export RUN DIR                    write it as files for other programs
       optix-tricks new mine.py                       write a recipe of your own to start
       optix-tricks tricks [NAME]                     all tricks by slot; or one's card
       optix-tricks lr-find RECIPE [--with TRICK ...] test its learning rates; --help
       optix-tricks ablate RECIPE [--tricks A,B=0.2]  what each trick buys; --help
       optix-tricks sweep RECIPE --NUMBER 0.1,0.3     the best of several numbers; --help
       optix-tricks compile RECIPE --for v5e:4x4      what a step costs there; not run
       optix-tricks diagnose run RUN [--probe]        say what a run suffers from
       optix-tricks diagnose curvature RUN            a saddle, a minimum? how sharp?
       optix-tricks diagnose weight-norm [--parts ..] Page's experiments on weight decay
       optix-tricks report RUN                        draw a run's page and figures again
       optix-tricks report RUN RUN...                 a page on several beside each other
"""


def main(argv: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 failed at run time, 2 wrong usage.

    Stopped by a signal, 128 and its number: 130, 143 and 129 for Ctrl-C, SIGTERM, SIGHUP.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        with plain_warnings():
            _dispatch(argv)
    except UsageError as error:
        _fail(error, 2, argv)
    except KeyboardInterrupt as stop:
        with contextlib.suppress(OSError):  # of a terminal that is gone
            print(f"stopped{stop}", file=sys.stderr)
        sys.exit(128 + getattr(stop, "signal", signal.SIGINT))
    except Exception as error:
        _fail(error, 1, argv)


def _fail(error: BaseException, code: int, argv: list[str]) -> NoReturn:
    if "--debug" in argv:
        traceback.print_exception(error)
    print(f"error: {_sentence(error)}", file=sys.stderr)
    sys.exit(code)


def _sentence(error: BaseException) -> str:
    """What is wrong; of an error that nobody foresaw its kind, and how to see more."""
    if isinstance(error, ModuleNotFoundError):
        return absence(error)
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}."
    if isinstance(error, (UsageError, RuntimeError, ValueError, TypeError, OSError)):
        return str(error) or type(error).__name__
    return f"unforeseen {type(error).__name__}: {error}; --debug shows where it arose."


def _dispatch(argv: list[str]) -> None:
    command, arguments = (argv[0], argv[1:]) if argv else ("--help", [])
    if command in ("--help", "-h"):
        print(USAGE, end="")
    elif command in COMMANDS:
        if command != "train" and {"--distributed", "--coordinator"} & {*arguments}:
            raise UsageError(
                f"{command} runs in one process, which may have several devices: leave"
                " out --distributed."
            )
        keep_compiled_programs()
        COMMANDS[command](arguments)
    else:
        *others, last = COMMANDS
        raise UsageError(
            f"unknown command {command!r}: choose {', '.join(others)} or {last}."
            + like(command, COMMANDS)
        )


def _list(arguments: list[str]) -> None:
    from optix_tricks.recipes import RECIPES, find_recipe

    del arguments
    table = Table("recipe", "claim", "cost", "source")
    for name in RECIPES:
        claim = find_recipe(name).claim
        said = (claim.result, claim.cost, claim.source) if claim else ("", "", "")
        table.add_row(f"[bold]{name}", *said)
    Console().print(table)


def _report(arguments: list[str]) -> None:
    from optix_tricks.reports import write_comparison, write_report

    paths = [argument for argument in arguments if argument != "--debug"]
    if not paths or paths[0].startswith("-"):
        raise UsageError(
            "report takes run directories, got " + (" ".join(paths) or "none") + "."
        )
    one = len(paths) == 1
    print(write_report(Path(paths[0])) if one else write_comparison(paths))


COMMANDS = {
    "list": _list,
    "show": show,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "export": export,
    "new": new,
    "tricks": tricks,
    "lr-find": lr_find,
    "ablate": ablate,
    "sweep": sweep,
    "compile": compile_step,
    "diagnose": diagnose,
    "report": _report,
}
