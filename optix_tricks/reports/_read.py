"""Reads what a run left behind: its settings, its columns of numbers, its result."""

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Columns = dict[str, np.ndarray]
Row = dict[str, Any]


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
        test: The `test` rows in the same form.
        result: The final numbers, or None while the run is unfinished.
    """

    path: Path
    recipe: str
    config: dict[str, Any]
    environment: dict[str, Any]
    train: Columns
    test: Columns
    result: dict[str, Any] | None


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read a run's directory.

    Where a step appears twice, as after a resume, the later row wins. A half-written
    last line, as a killed run leaves it, is ignored, and so are rows of a kind other
    than `train` and `test`.

    Args:
        path: A directory with `config.json` and `environment.json`; `metrics.jsonl`
            and `result.json` appear as the run proceeds.

    Returns:
        The run; `train` and `test` always have a `step` column, empty before the
        first row.

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
    result = path / "result.json"
    return Run(
        path=path,
        recipe=header["recipe"],
        config=header["config"],
        environment=_read_object(path / "environment.json"),
        train=_columns(rows["train"]),
        test=_columns(rows["test"]),
        result=_read_object(result) if result.is_file() else None,
    )


def _read_object(path: Path) -> dict[str, Any]:
    value = _parse(path.read_bytes())
    if not isinstance(value, dict):
        raise ReportError(
            f"{path} is not a JSON object: "
            "restore it from where it was copied, or run the recipe again."
        )
    return value


def _read_rows(path: Path) -> dict[str, dict[int, Row]]:
    """Rows by kind and step; a later row of the same step replaces the earlier one."""
    rows: dict[str, dict[int, Row]] = {"train": {}, "test": {}}
    if not path.is_file():
        return rows
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        row = _parse(line)
        is_unterminated = number == len(lines)
        if not line.strip() or (is_unterminated and row is None):
            continue
        fault = _fault(row)
        if fault:
            raise ReportError(
                f"{path}, line {number}: {fault}; correct or delete that line."
            )
        if row["kind"] in rows:
            rows[row["kind"]][int(row["step"])] = row
    return rows


def _parse(text: bytes) -> Any:
    """The JSON value of `text`, or None where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fault(row: Any) -> str | None:
    """What keeps `row` from being a row of metrics, or None."""
    if not isinstance(row, dict):
        return "not a JSON object"
    if not isinstance(row.get("kind"), str):
        return 'no "kind"'
    if row["kind"] not in ("train", "test"):
        return None
    step = row.get("step")
    if not (isinstance(step, int | float) and step >= 0 and step % 1 == 0):
        return f'"step" must be a whole number, got {step!r}'
    for name, value in row.items():
        if not (name == "kind" or value is None or _is_number(value)):
            return f'"{name}" must be a number or null, got {value!r}'
    return None


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
