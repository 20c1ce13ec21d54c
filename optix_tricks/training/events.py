"""TensorBoard's event files, written at once, so that a full disk is known at once."""

import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from optix_tricks.training.dataset import PathLike
from optix_tricks.training.run_directory import explained


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
        start = SessionLog(status=SessionLog.START)
        event = Event(wall_time=time.time(), step=from_step, session_log=start)
        with explained(self._run):
            directory.mkdir(parents=True, exist_ok=True)
            self._writer = EventsWriter(str(directory / "events"))
            self._writer.write_event(event)

    def __enter__(self) -> "EventFile":
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        with explained(self._run):
            self._writer.close()

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Write rows of metrics, each as one event, and flush."""
        with explained(self._run):
            for row in rows:
                values = [
                    Summary.Value(tag=f"{row['kind']}/{name}", simple_value=x)
                    for name, x in row.items()
                    if name not in ("kind", "step", "epoch")
                ]
                event = Event(wall_time=time.time(), step=row["step"])
                event.summary.CopyFrom(Summary(value=values))
                self._writer.write_event(event)
            self._writer.flush()
