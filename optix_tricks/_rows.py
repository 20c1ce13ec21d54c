"""Reading rows of metrics from a file that may hold anything."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STEPS = range(2**63)
KINDS = ("train", "validation", "test")


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of JSON lines, each held against what a row must be.

    A last line that a killed process cut off is left out, and so are empty ones; rows of
    a kind other than `train`, `validation` and `test` are not looked into.

    Raises:
      ValueError: naming the file, the line and what is wrong with it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "metrics.jsonl")
    ...     _ = file.write_text('{"kind": "train", "step": 1.5}' + chr(10))
    ...     list(rows_of(file))
    Traceback (most recent call last):
    ValueError: ...metrics.jsonl, line 1: "step" must be a whole number, got 1.5;
    correct or delete that line.
    """
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        row = parse_json(line)
        is_cut_off = number == len(lines) and row is None
        if not line.strip() or is_cut_off:
            continue
        fault = _fault(row)
        if fault:
            raise ValueError(
                f"{path}, line {number}: {fault}; correct or delete that line."
            )
        if row["kind"] in KINDS:
            row["step"] = int(row["step"])
        yield row


def parse_json(text: bytes) -> Any:
    """Return the JSON value of `text`, or None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _fault(row: Any) -> str | None:
    """What keeps `row` from being a row of metrics, or None."""
    if not isinstance(row, dict):
        return "not a JSON object"
    if not isinstance(row.get("kind"), str):
        return 'no "kind"'
    if row["kind"] not in KINDS:
        return None
    step: Any = row.get("step")
    if not (_is_number(step) and step >= 0 and step % 1 == 0):
        return f'"step" must be a whole number, got {_short(step)}'
    if int(step) not in STEPS:
        return f'"step" must be less than 2**63, got {_short(step)}'
    for name, value in row.items():
        if not (name == "kind" or value is None or _is_number(value)):
            return f'"{name}" must be a number or null, got {_short(value)}'
    return None


def _is_number(value: Any) -> bool:
    """Whether a float has it: JSON has whole numbers of hundreds of digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**1023


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"
