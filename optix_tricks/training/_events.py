"""TensorBoard's event files, written at once, so that a full disk is known at once."""

import time
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from socket import gethostname
from typing import Any

from optix_tricks._files import refuse_link
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._event_records import record, scalars, start, version
from optix_tricks.training._run_directory import RunDirectory, explained


def events_of(run: RunDirectory, *, from_step: int) -> Any:
    """Open the events of a run; None, in a `with` statement, where another writes."""
    directory = run.path / "tensorboard"
    return EventFile(directory, from_step=from_step) if run.writes else nullcontext()


class EventFile:
    """One file of scalars; TensorBoard merges all in the directory.

    Args:
      directory: within the run's; made if absent.
      from_step: the first step that will be written; what older files hold from there
        on is superseded.
    """

    def __init__(self, directory: PathLike, *, from_step: int):
        directory = Path(directory)
        self._run = directory.parent
        now = time.time()
        # TensorBoard reads them in the order of their names: by second, then by step.
        name = f"events.out.tfevents.{int(now):010d}.{gethostname()}.{from_step:012d}"
        with explained(self._run):
            refuse_link(directory)
            directory.mkdir(parents=True, exist_ok=True)
            refuse_link(directory / name)
            self._file = (directory / name).open("wb")
            try:
                self._write([version(now), start(now, from_step)])
            except OSError:
                with suppress(OSError):  # which says the same
                    self._file.close()
                raise

    def __enter__(self) -> "EventFile":
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        with explained(self._run):
            self._file.close()

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Write rows of metrics, each as one event, and flush."""
        with explained(self._run):
            self._write(map(_event_of, rows))

    def _write(self, events: Iterable[bytes]) -> None:
        self._file.write(b"".join(map(record, events)))
        self._file.flush()


def _event_of(row: dict[str, Any]) -> bytes:
    numbers = [
        (f"{row['kind']}/{name}", x)
        for name, x in row.items()
        if name not in ("kind", "step", "epoch")
    ]
    return scalars(time.time(), row["step"], numbers)
