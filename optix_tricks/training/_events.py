"""TensorBoard's event files, written at once, so that a full disk is known at once."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from optix_tricks._extras import needed
from optix_tricks._files import refuse_link
from optix_tricks.training._dataset import PathLike
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
        # Here, since tensorboardX imports PyTorch where there is one.
        writer = needed("tensorboardX.event_file_writer")
        event_pb2 = needed("tensorboardX.proto.event_pb2")
        summary_pb2 = needed("tensorboardX.proto.summary_pb2")

        directory = Path(directory)
        self._run = directory.parent
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        event = self._event(wall_time=time.time(), step=from_step, session_log=start)
        with explained(self._run):
            refuse_link(directory)
            directory.mkdir(parents=True, exist_ok=True)
            # The library names files by the second: two of one second must differ.
            suffix = f".{from_step:012d}"
            self._writer = writer.EventsWriter(str(directory / "events"), suffix)
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
                    self._summary.Value(tag=f"{row['kind']}/{name}", simple_value=x)
                    for name, x in row.items()
                    if name not in ("kind", "step", "epoch")
                ]
                event = self._event(wall_time=time.time(), step=row["step"])
                event.summary.CopyFrom(self._summary(value=values))
                self._writer.write_event(event)
            self._writer.flush()
