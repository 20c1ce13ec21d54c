"""`optix-tricks runs`: what was trained, and what each came to."""

import contextlib
import dataclasses
import datetime
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optix_tricks.cli._options import UsageError, like, parsed
from optix_tricks.cli._positional import Directory

TAIL = 1 << 14  # bytes, more than a row


@dataclasses.dataclass(frozen=True)
class RunsOptions:
    """Which runs, in which order."""

    directory: Directory = Path("runs")
    """in which they lie, however deep"""
    recipe: str | None = None
    """of this recipe alone"""
    trick: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """with this trick alone, as often as you like"""
    sort: str = "date"
    """date, recipe, or a number of result.json, such as test_accuracy; the best last"""
    last: int | None = None
    """so many from the end; all if not given"""
    debug: bool = False
    """show the traceback of an error"""


class Found(NamedTuple):
    """What is said of a run."""

    path: Path
    recipe: str
    tricks: tuple[str, ...]
    epochs: Any  # that it is to have
    result: dict[str, Any]  # empty where there is none yet
    date: datetime.datetime


def runs(arguments: list[str]) -> None:
    """List runs by date, or by what they came to: recipe, tricks, result."""
    options = parsed(RunsOptions, "runs", runs.__doc__, arguments)
    if not options.directory.is_dir():
        raise UsageError(
            f"there is no directory {options.directory}: train something first, or name"
            " the one in which your runs lie."
        )
    found = [
        each
        for each in find_runs(options.directory)
        if options.recipe in (None, each.recipe) and {*options.trick} <= {*each.tricks}
    ]
    if not found:
        raise UsageError(f"there is no such run in {options.directory}.")
    if options.last is not None and options.last < 1:
        raise UsageError(f"--last must be 1 or more, got {options.last}.")
    found = _sorted(found, options.sort)[-(options.last or 0) :]
    Console().print(_table(found))


def find_runs(directory: Path) -> Iterator[Found]:
    """Yield the runs that lie in a directory, or are it; what is broken is left out."""
    for here, folders, files in os.walk(directory):
        if "config.json" not in files:
            continue
        folders.clear()  # a run holds no other
        path = Path(here)
        try:
            said = json.loads((path / "config.json").read_text())
            recipe, fields = str(said["recipe"]), said["config"]
            tricks = tuple(str(name) for name, _ in fields.get("tricks", ()))
            date = _began(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        yield Found(path, recipe, tricks, fields.get("epochs"), _result(path), date)


def _result(run: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((run / "result.json").read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _began(run: Path) -> datetime.datetime:
    """By its environment.json, or else by the file's own time."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads((run / "environment.json").read_text())["started"]
        return datetime.datetime.fromisoformat(said).astimezone()
    written = (run / "config.json").stat().st_mtime
    return datetime.datetime.fromtimestamp(written).astimezone()


def _sorted(found: list[Found], by: str) -> list[Found]:
    if by in ("date", "recipe"):
        return sorted(found, key=lambda run: (getattr(run, by), run.date))
    numbers = {name for run in found for name, x in run.result.items() if _is_number(x)}
    by = by.replace("-", "_")
    by = f"test_{by}" if f"test_{by}" in numbers else by
    if by not in numbers:
        raise UsageError(
            f"--sort must be date, recipe, {', '.join(sorted(numbers))}, got {by!r}."
            + like(by, numbers)
        )
    sign = -1 if "loss" in by or "error" in by or by == "seconds" else 1

    def key(run: Found) -> float:
        return sign * run.result[by] if _is_number(run.result.get(by)) else -math.inf

    return sorted(found, key=key)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


def _table(found: list[Found]) -> Table:
    table = Table("run", "what it came to")
    table.columns[0].overflow = "fold"
    for run in found:
        table.add_row(f"[bold]{escape(str(run.path))}", f"[bold]{_came_to(run)}")
        of_it = f"{run.recipe}: {' '.join(run.tricks)}" if run.tricks else run.recipe
        table.add_row(f"[dim]{run.date:%Y-%m-%d %H:%M}", f"[dim]{escape(of_it)}")
        table.add_section()
    return table


def _came_to(run: Found) -> str:
    """The numbers of its result, or how far it is."""
    if not run.result:
        if (run.path / "range_test.json").exists():
            return "a range test of learning rates"
        return f"no result yet: epoch {_epoch(run.path):.3g} of {run.epochs or '?'}"
    return said_of(run.result)


def said_of(result: Mapping[str, Any]) -> str:
    """The numbers of a result.json: of its test, and how long it was trained."""
    tests = {name: x for name, x in result.items() if name.startswith("test_")}
    loss = {"test_loss": tests.pop("test_loss", None)}  # the last of them
    said = [
        f"{name.removeprefix('test_').replace('_', ' ')} {_written(name, x)}"
        for name, x in (tests | loss).items()
        if name != "test_size" and _is_number(x)
    ]
    epochs, seconds = (result.get(name) for name in ("epochs", "seconds"))
    said += [f"{epochs:g} epoch{'s' * (epochs != 1)}"] if _is_number(epochs) else []
    said += [f"{seconds:.3g} s"] if _is_number(seconds) else []
    return ", ".join(said)


def _written(name: str, x: float) -> str:
    return f"{x:.2%}" if "accuracy" in name else f"{x:.4g}"


def _epoch(path: Path) -> float:
    """Of the last row that is whole."""
    try:
        with (path / "metrics.jsonl").open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
            lines = file.read().splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return float(json.loads(line)["epoch"])
    return 0
