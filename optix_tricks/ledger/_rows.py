"""The ledger's file: a line of JSON for each training, written when it is done."""

import fcntl
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optix_tricks.training import RunError, environment
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._json_numbers import finite
from optix_tricks.training._run_directory import explained

Row = dict[str, Any]
FILE = "ledger.jsonl"
COLUMNS = {  # of what a row is keyed by, and what it must hold beside
    "run": (("setup", "seed"), ("test_loss", "diverged", "epochs")),
    "cost": (("setup", "base"), ("step_ratio", "compile_seconds")),
    "environment": (("id",), ()),
}


class Rows:
    """The rows of a file, of which each is there once; use it in a `with` statement.

    A last line that a crash has cut off is taken away. While it is open, no other process
    can open it.
    """

    def __init__(self, path: PathLike):
        self.path = Path(path)
        with explained(self.path):
            self._file = self.path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise RunError(f"{self.path} is in use by another process.") from error
        try:
            whole = _whole_lines(self.path)
            self._there = {_key(row): row for row in _parsed(whole, self.path)}
        except RunError:
            self._file.close()
            raise
        if len(whole) < self.path.stat().st_size:
            os.truncate(self.path, len(whole))

    @classmethod
    def below(cls, path: PathLike) -> "Rows":
        """Open the rows of a ledger's directory, which is made if it is not there."""
        with explained(path):
            Path(path).mkdir(parents=True, exist_ok=True)
        return cls(Path(path) / FILE)

    def __enter__(self) -> "Rows":
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """Free the file for others."""
        self._file.close()

    def find(self, kind: str, *key: Any) -> Row | None:
        """Return the row of this kind and key, if it is there."""
        return self._there.get((kind, *key))

    def append(self, row: Row) -> Row:
        """Write a row, with the environment in which it was made, and see it safe."""
        about = _environment()
        if self.find("environment", about["id"]) is None:
            self._write(about)
        return self._write({**row, "environment": about["id"]})

    def _write(self, row: Row) -> Row:
        row = finite(row)
        with explained(self.path):
            self._file.write((json.dumps(row, default=str) + "\n").encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        self._there[_key(row)] = row
        return row


@functools.cache
def _environment() -> Row:
    """Versions, devices, commit and command of this process, under a digest of them."""
    about = environment()
    del about["started"]
    text = json.dumps(about, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    return {"kind": "environment", "id": name, **about}


def read_rows(path: PathLike) -> list[Row]:
    """Return the complete rows of a ledger's file.

    Raises:
      RunError: if it cannot be read, or a line is no row; names the line.
    """
    return [*_parsed(_whole_lines(Path(path)), Path(path))]


def _whole_lines(path: Path) -> bytes:
    with explained(path):
        text = path.read_bytes()
    return text[: text.rfind(b"\n") + 1]


def _parsed(text: bytes, path: Path) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            row = json.loads(line)
            key, others = COLUMNS[row["kind"]]
            _ = [row[name] for name in (*key, *others)]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(
                f"line {number} of {path} is no row of a ledger: restore the file, or"
                " take the line out to have it measured again."
            ) from error
        yield row


def _key(row: Row) -> tuple[Any, ...]:
    return (row["kind"], *(row[name] for name in COLUMNS[row["kind"]][0]))
