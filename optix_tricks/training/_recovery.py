"""What a run does once a number is not finite: it says why, and may go back."""

import shutil
from pathlib import Path
from typing import Any

import jax

from optix_tricks.training._causes import Cause, cause_in_data, cause_in_network
from optix_tricks.training._checkpoint import Checkpoints, numbers
from optix_tricks.training._dataset import Dataset
from optix_tricks.training._feeds import feed_of
from optix_tricks.training._finite import NotFiniteError
from optix_tricks.training._job import Job
from optix_tricks.training._orders import epoch_order, steps_per_epoch
from optix_tricks.training._rate_scale import with_rate_scale
from optix_tricks.training._result import Rows
from optix_tricks.training._resuming import WHOLE, WITHIN
from optix_tricks.training._run_devices import Placement
from optix_tricks.training._run_directory import RESTORE, RunDirectory
from optix_tricks.training._state import TrainState, create_state

FACTOR = 0.5  # of the rate, for each time that a run goes back
MOST_AGAIN = 1000  # steps that are taken again to find out why one was not finite


class RestoredRun(UserWarning):
    """A run went back to its last good checkpoint, with half the rate."""


def restores(rows: Rows) -> list[dict[str, Any]]:
    """Those of the rows that say that a run went back."""
    return [row for row in rows if row["kind"] == RESTORE]


def eased(state: TrainState, rows: Rows, job: Job) -> TrainState:
    """Return the state with the rate of a run that went back as often as rows say."""
    if not job.restores:
        return state
    scale = FACTOR ** len(restores(rows))
    return state._replace(opt_state=with_rate_scale(state.opt_state, scale))


def explained_error(
    error: NotFiniteError, job: Job, dataset: Dataset, run: RunDirectory
) -> NotFiniteError:
    """Return the error with the cause, as far as it can be found.

    Steps since the newest checkpoint are taken again, a thousand at most.
    """
    if gone := len(restores(run.read_metrics())):
        error.what += f", after {gone} {'restore' if gone == 1 else 'restores'}"
    if not error.of_step:
        return NotFiniteError(error.what, error.step, way_out=error.way_out)
    steps = steps_per_epoch(dataset.train.size, job.batch_size)
    epoch, place = divmod(error.step - 1, steps)
    found = cause_in_data(dataset, _indices(dataset, job, epoch, place))
    if found is None:
        found = _in_network(job, dataset, run, error.step)
    found = found or Cause("no cause is found")
    return NotFiniteError(
        f"{error.what}; {found.said}",
        error.step,
        of_step=True,
        way_out=found.way_out or error.way_out,
        rate_helps=found.way_out is None,
    )


def _indices(dataset: Dataset, job: Job, epoch: int, place: int) -> Any:
    """Of the examples of a step."""
    key = jax.random.key(job.seed)
    if dataset.streamed:
        with feed_of(dataset, job, Placement(), key) as feed:
            return feed.batch(epoch, place).indices
    return epoch_order(key, epoch, dataset.train.size, job.batch_size)[place]


def _in_network(job: Job, dataset: Dataset, run: RunDirectory, bad: int) -> Cause | None:
    """Restore the newest checkpoint before a step, go up to it, and look."""
    state = create_state(
        job.params, job.batch_stats, job.tx, jax.random.key(job.seed), packed=job.packed
    )
    steps = steps_per_epoch(dataset.train.size, job.batch_size)
    places = checkpoint_steps(run.path, steps, before=bad)
    done = max(places, default=0)
    epoch = (bad - 1) // steps
    crosses = done < epoch * steps and job.observe is not None
    if bad - done > MOST_AGAIN or crosses or (not places and job.begin is not None):
        return None
    if places:
        directory, number = places[done]
        with Checkpoints(run.path / directory, read_only=True) as checkpoints:
            if not checkpoints.is_sound(number):
                return None
            state = checkpoints.restore(number, state)
    state = eased(state, run.read_metrics(), job)
    with feed_of(dataset, job, Placement(), state.key) as feed:
        while done < bad - 1:
            of, first = divmod(done, steps)
            length = min(steps - first, bad - 1 - done)
            state, _ = feed.train(job.step_in(of), state, of, first, length)
            done += length
        batch = feed.batch(epoch, (bad - 1) % steps)
    return cause_in_network(job, state, batch, epoch=epoch)


def checkpoint_steps(run: Path, steps: int, *, before: int) -> dict[int, tuple[str, int]]:
    """Directory and number of each checkpoint, by its step, of those before a step."""
    whole = {n * steps: (WHOLE, n) for n in numbers(run / WHOLE)}
    within = {n: (WITHIN, n) for n in numbers(run / WITHIN)}
    return {step: x for step, x in (within | whole).items() if step < before}


def go_back(
    error: NotFiniteError, job: Job, dataset: Dataset, run: RunDirectory
) -> str | None:
    """Note that a run goes back, and delete what it must not go on from.

    Returns:
      What to say; None if it has gone back as often as it may, or a lower rate cannot
      help, as with bad examples or a first step that is not finite.
    """
    gone = len(restores(run.read_metrics()))
    is_first = error.of_step and error.step == 1
    if gone >= job.restores or is_first or not error.rate_helps:
        return None
    steps = steps_per_epoch(dataset.train.size, job.batch_size)
    # From the weights right before a step that is not finite the same would follow.
    good = checkpoint_steps(run.path, steps, before=error.step - error.of_step)
    for directory in (WHOLE, WITHIN):
        for number in numbers(run.path / directory):
            if (directory, number) not in good.values():
                shutil.rmtree(run.path / directory / str(number))
    start = max(good, default=0)
    scale = FACTOR ** (gone + 1)
    row = {
        "kind": RESTORE,
        "step": error.step,
        "epoch": error.step / steps,
        "from_step": start,
        "what": error.what,
        "rate_scale": scale,
    }
    run.append_metrics([row])
    return (
        f"{error.what}: going on from step {start} with {scale:g} of the rate, restore"
        f" {gone + 1} of {job.restores}"
    )
