"""The command line: `optix-tricks`; a command a file, imported when it is run."""

import contextlib
import errno
import importlib
import signal
import sys
import traceback
from importlib.metadata import version
from typing import Any, NamedTuple, NoReturn

from optix_tricks import __version__
from optix_tricks._extras import absence
from optix_tricks.cli._compilation_cache import keep_compiled_programs
from optix_tricks.cli._options import UsageError, like
from optix_tricks.cli._usage import LESSON, USAGE
from optix_tricks.cli._warnings import plain_warnings


class Command(NamedTuple):
    """Where a command is: names, since importing all of them takes seconds."""

    module: str
    function: str  # of the words behind the command
    options: str  # the dataclass of them
    of_recipe: bool = False  # whose numbers are options too

    def load(self, name: str) -> Any:
        """Import the function or the options."""
        return getattr(importlib.import_module(f"optix_tricks.cli.{self.module}"), name)


COMMANDS = {
    "list": Command("_list", "list_recipes", "ListOptions"),
    "runs": Command("_runs", "runs", "RunsOptions"),
    "show": Command("_show", "show", "ShowOptions", of_recipe=True),
    "train": Command("_train", "train", "TrainOptions", of_recipe=True),
    "evaluate": Command("_evaluate", "evaluate", "EvaluateOptions"),
    "predict": Command("_predict", "predict", "PredictOptions"),
    "export": Command("_export", "export", "ExportOptions"),
    "new": Command("_new", "new", "NewOptions"),
    "tricks": Command("_tricks", "tricks", "TricksOptions"),
    "lr-find": Command("_lr_find", "lr_find", "RangeOptions", of_recipe=True),
    "ablate": Command("_ablate", "ablate", "AblationOptions", of_recipe=True),
    "sweep": Command("_sweep", "sweep", "SweepOptions", of_recipe=True),
    "compile": Command("_compile", "compile_step", "CompileOptions", of_recipe=True),
    "diagnose run": Command("_diagnose", "run", "ProbeOptions"),
    "diagnose curvature": Command("_diagnose", "curvature", "CurvatureOptions"),
    "diagnose weight-norm": Command("_weight_norm", "weight_norm", "StudyOptions"),
    "report": Command("_report", "report", "ReportOptions"),
    "completion": Command("_completion", "completion", "CompletionOptions"),
}


def main(argv: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 failed at run time, 2 wrong usage.

    Stopped by a signal, 128 and its number: 130, 143 and 129 for Ctrl-C, SIGTERM, SIGHUP;
    141 where what it prints is read no more.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        with plain_warnings():
            _dispatch(argv)
        sys.stdout.flush()
    except UsageError as error:
        _fail(error, 2, argv)
    except KeyboardInterrupt as stop:
        with contextlib.suppress(OSError):  # of a terminal that is gone
            print(f"stopped{stop}", file=sys.stderr)
        sys.exit(128 + getattr(stop, "signal", signal.SIGINT))
    except BrokenPipeError:  # as of `optix-tricks tricks | head`, who has seen enough
        sys.stdout = None  # nothing is flushed into it at exit
        sys.exit(128 + signal.SIGPIPE)
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
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way_out = ": free some and give the command again" if is_full else ""
        return f"{name}{error.strerror}{way_out}."
    if isinstance(error, (UsageError, RuntimeError, ValueError, TypeError, OSError)):
        return str(error) or type(error).__name__
    return f"unforeseen {type(error).__name__}: {error}; --debug shows where it arose."


def _dispatch(argv: list[str]) -> None:
    match argv:
        case []:
            print(LESSON, end="")
        case ["--help" | "-h", *_]:
            print(USAGE, end="")
        case ["--version", *_]:
            print(_versions())
        case [group, *rest] if words := _words_of(group):
            if rest[:1] in (["--help"], ["-h"]):
                lines = [x[7:] for x in USAGE.splitlines() if f"-tricks {group}" in x]
                print("usage: " + "\n       ".join(lines))
            elif rest and rest[0] in words:
                _run(f"{group} {rest[0]}", rest[1:])
            else:
                word = rest[0] if rest else ""
                raise UsageError(
                    f"{group} takes {', '.join(words)}, got {word or 'none'}."
                    + like(word, words)
                )
        case [name, *rest]:
            _run(name, rest)


def _words_of(group: str) -> list[str]:
    """The second words of commands of two."""
    return [word for name in COMMANDS if (word := name.removeprefix(f"{group} ")) != name]


def _run(name: str, arguments: list[str]) -> None:
    if name not in COMMANDS:
        known = {each.partition(" ")[0]: None for each in COMMANDS}
        *others, last = known
        raise UsageError(
            f"unknown command {name!r}: choose {', '.join(others)} or {last}."
            + like(name, known)
        )
    if name != "train" and {"--distributed", "--coordinator"} & {*arguments}:
        raise UsageError(
            f"{name} runs in one process, which may have several devices: leave"
            " out --distributed."
        )
    keep_compiled_programs()
    command = COMMANDS[name]
    command.load(command.function)(arguments)


def _versions() -> str:
    others = (f"{name} {version(name)}" for name in ("jax", "optax", "flax"))
    python = ".".join(map(str, sys.version_info[:3]))
    return f"optix-tricks {__version__}, {', '.join(others)}, Python {python}"
