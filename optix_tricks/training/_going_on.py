"""From where a run goes on: its newest checkpoint and the rows up to there."""

import math
from typing import Any

from optix_tricks.training._checkpoint import Checkpoints, numbers
from optix_tricks.training._checksums import noted
from optix_tricks.training._course import Reached
from optix_tricks.training._hosts import together
from optix_tricks.training._job import Job
from optix_tricks.training._resuming import (
    WHOLE,
    WITHIN,
    check_rows,
    check_settings,
    has_checkpoint,
    newest_place,
)
from optix_tricks.training._run_directory import RunDirectory


def gone_on(
    at: Reached,
    job: Job,
    run: RunDirectory,
    checkpoints: Checkpoints,
    *,
    settings: dict[str, Any],
    steps: int,
) -> Reached:
    """Return how far a run is that was stopped, and delete what is after it.

    Args:
      at: the start, whose state says what the checkpoint must hold.
      job: of the run.
      run: its directory.
      checkpoints: those after epochs.
      settings: of now, which must be those of the checkpoint.
      steps: of an epoch.

    Raises:
      CheckpointError: if none can be gone on from.
      RunError: if the settings are others, or rows are gone from which something follows.
    """
    if not has_checkpoint(run.path):
        rows = run.cut_metrics(0)
        return at._replace(rows=rows)
    rows = run.read_metrics()
    ended = at.watch.after(rows)
    if ended.has_ended(rows, job.epochs) and checkpoints.is_sound(ended.best):
        done = math.ceil(rows[-1]["epoch"])
        seconds = rows[-1]["seconds"]
        at = at._replace(done=done, step=done * steps, seconds=seconds, rows=rows)
    else:
        at = _restored(at, job, run, rows, settings, steps)
    watch = at.watch.among(at.rows, checkpoints)
    checkpoints.best = watch.best
    return at._replace(watch=watch)


def _restored(
    at: Reached,
    job: Job,
    run: RunDirectory,
    rows: list[dict[str, Any]],
    settings: dict[str, Any],
    steps: int,
) -> Reached:
    """Restore the newest sound checkpoint."""
    found = newest_place(run.path, steps, at.watch, rows)
    check_settings(run.path, found, settings)
    with Checkpoints(found.directory, read_only=True) as there:
        state = there.restore(found.number, at.state)
    decide = at.watch.rule is not None or job.restores > 0
    check_rows(run.path, int(state.step), rows, decide=decide)
    done, step = found.epoch(steps), found.step
    together("all have read what is there")
    for directory, last in ((WHOLE, done), (WITHIN, step)):
        if numbers(run.path / directory):
            Checkpoints(run.path / directory).cut(last)
    rows = run.cut_metrics(step, tested=found.is_whole)
    together("what is after it is deleted")
    seconds = noted(found.path).get("seconds", 0.0)
    return at._replace(state=state, done=done, step=step, seconds=seconds, rows=rows)
