"""Reads what a run left behind: its settings, its columns of numbers, its result."""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from optix_tricks._rows import KINDS, parse_json, rows_of

Columns = dict[str, np.ndarray]
Row = dict[str, Any]
PROFILE = "profile"  # the directory that `training` writes traces into


class ReportError(RuntimeError):
    """A run cannot be read; one sentence that names the path and the way out."""


class Run(NamedTuple):
    """A run's directory in memory.

    Attributes:
        path: The directory.
        recipe: The recipe's name.
        config: Every field of the recipe, as resolved for this run.
        environment: Versions, devices, commit, start and command.
        train: The `train` rows as columns of equal length, ordered by step; `step` is
            int64, the rest float64, nan where a row has no finite value.
        validation: The `validation` rows in the same form; none without a split.
        test: The `test` rows.
        result: The final numbers, or None while the run is unfinished.
        confusion: Of the final test: `classes`, their names, and `counts`, a row for each
            class of how often it was taken for which; None where it is not there.
        examples: Images of the worst and the best test losses, the worst first: `images`,
            and of each what it `is`, what was `told`, and the `loss`; likewise.
        layers: Of each array of parameters its `name`, `shape`, and norms at the `start`
            and at the `end`; likewise.
        speed: Examples a second and what the device tells of itself, likewise.
        trace: Of the steps that were profiled, as a browser reads it, likewise.
    """

    path: Path
    recipe: str
    config: dict[str, Any]
    environment: dict[str, Any]
    train: Columns
    validation: Columns
    test: Columns
    result: dict[str, Any] | None
    confusion: dict[str, Any] | None = None
    examples: dict[str, np.ndarray] | None = None
    layers: list[Row] | None = None
    speed: dict[str, Any] | None = None
    trace: Path | None = None


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read a run's directory.

    Where a step appears twice, as after a resume, the later row wins. A half-written
    last line, as a killed run leaves it, is ignored, and so are rows of a kind other
    than `train`, `validation` and `test`.

    Args:
        path: A directory with `config.json` and `environment.json`; `metrics.jsonl`
            and `result.json` appear as the run proceeds.

    Returns:
        The run; each kind of rows has a `step` column, empty before the first row.

    Raises:
        ReportError: If `path` is not a run's directory or a file in it is broken.

    >>> read_run("no/such/run")
    Traceback (most recent call last):
    optix_tricks.reports._read.ReportError: no/such/run is not a run's directory (it has
    no config.json): give the directory that the recipe wrote its run into.
    """
    path = Path(path)
    for name in ("config.json", "environment.json"):
        if not (path / name).is_file():
            raise ReportError(
                f"{path} is not a run's directory (it has no {name}): "
                "give the directory that the recipe wrote its run into."
            )
    header = _read_object(path / "config.json")
    if not (
        isinstance(header.get("recipe"), str) and isinstance(header.get("config"), dict)
    ):
        raise ReportError(
            f'{path / "config.json"} lacks "recipe", a string, or "config", an object: '
            "restore it from where it was copied, or run the recipe again."
        )
    rows = _read_rows(path / "metrics.jsonl")
    result, speed = path / "result.json", path / "speed.json"
    return Run(
        path=path,
        recipe=header["recipe"],
        config=header["config"],
        environment=_read_object(path / "environment.json"),
        **{kind: _columns(rows[kind]) for kind in KINDS},
        result=_read_object(result) if result.is_file() else None,
        confusion=_read_confusion(path / "confusion.json"),
        examples=_read_examples(path / "examples.npz"),
        layers=_read_layers(path / "layers.json"),
        speed=_read_object(speed) if speed.is_file() else None,
        trace=find_trace(path),
    )


def find_trace(path: Path) -> Path | None:
    """Return the newest trace of a run's steps, None where none were profiled."""
    return max((path / PROFILE).glob("**/*.trace.json.gz"), default=None)


def _read_confusion(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found = _read_object(path)
    try:
        names = [str(name) for name in found["classes"]]
        counts = np.array(found["counts"], np.int64)
        ok = counts.shape == (len(names), len(names)) and (counts >= 0).all()
    except (KeyError, TypeError, ValueError, OverflowError):
        ok = False
    if not ok:
        raise ReportError(
            f'{path} lacks "classes", a list of names, or "counts", a square of whole'
            " numbers: delete it, or resume the run, which writes it again."
        )
    return {"classes": names, "counts": counts}


def _read_examples(path: Path) -> dict[str, np.ndarray] | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found = {name: file[name] for name in ("images", "is", "told", "loss")}
        images, *others = found.values()
        ok = images.ndim == 4 and images.dtype == np.uint8 and images.shape[-1] in (1, 3)
        ok = ok and all(x.shape == images.shape[:1] for x in others)
        ok = ok and all(found[name].dtype.kind in "iu" for name in ("is", "told"))
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, EOFError):
        ok = False
    if not ok:
        raise ReportError(
            f'{path} lacks "images", uint8 [n, height, width, 1 or 3], or "is", "told" or'
            ' "loss" of each: delete it, or resume the run, which writes it again.'
        )
    return found


def _read_layers(path: Path) -> list[Row] | None:
    if not path.is_file():
        return None
    match _read_object(path):
        case {"layers": list(rows)} if all(_is_layer(row) for row in rows):
            return rows
    raise ReportError(
        f'{path} lacks "layers", a list with "name", "shape", "start" and "end" of each:'
        " delete it, or resume the run, which writes it again."
    )


def _is_layer(row: Any) -> bool:
    match row:
        case {"name": str(), "shape": list(), "start": start, "end": end}:
            return all(x is None or isinstance(x, int | float) for x in (start, end))
    return False


def _read_object(path: Path) -> dict[str, Any]:
    value = parse_json(path.read_bytes())
    if not isinstance(value, dict):
        raise ReportError(
            f"{path} is not a JSON object: "
            "restore it from where it was copied, or run the recipe again."
        )
    return value


def _read_rows(path: Path) -> dict[str, dict[int, Row]]:
    """Rows by kind and step; a later row of the same step replaces the earlier one."""
    rows: dict[str, dict[int, Row]] = {kind: {} for kind in KINDS}
    if not path.is_file():
        return rows
    try:
        for row in rows_of(path):
            if row["kind"] in rows:
                rows[row["kind"]][row["step"]] = row
    except ValueError as error:
        raise ReportError(str(error)) from error
    return rows


def _columns(rows: dict[int, Row]) -> Columns:
    ordered = [rows[step] for step in sorted(rows)]
    names = {name: None for row in ordered for name in row if name != "kind"}
    columns = {
        name: np.array([_finite_or_nan(row.get(name)) for row in ordered], np.float64)
        for name in names
    }
    columns["step"] = np.array(sorted(rows), np.int64)
    return columns


def _finite_or_nan(value: int | float | None) -> float:
    return float(value) if value is not None and math.isfinite(value) else math.nan
