"""A run taken up again from its checkpoint, without touching it."""

from typing import NamedTuple

import jax

from optix_tricks.recipes import reconfigure
from optix_tricks.reports import Run, read_run
from optix_tricks.training import (
    Checkpoints,
    Dataset,
    Job,
    TrainState,
    create_state,
)
from optix_tricks.training._dataset import PathLike


class Restored(NamedTuple):
    """What a run trained, on what, and how far it was."""

    run: Run
    job: Job
    exact: Job  # the same in float32, to measure with
    dataset: Dataset
    state: TrainState
    epoch: int  # epochs done


def restore_run(
    path: PathLike, *, data_dir: PathLike | None = None, unfinished: bool = False
) -> Restored:
    """Restore the newest checkpoint of a run, finished or not.

    Args:
        path: the directory of the run.
        data_dir: where the data are, if not where they were.
        unfinished: whether the last epoch's checkpoint is passed over if there is one
            before.

    Raises:
        ReportError: if `path` is not a run's directory.
        RunError: if the run's recipe or settings are unknown to this version.
        CheckpointError: if it has no checkpoint, or one of another model.
    """
    run = read_run(path)
    settings = reconfigure(run.path, run.recipe, run.config, from_copy=True)
    if data_dir is not None:
        settings = settings.from_directory(data_dir)
    dataset = settings.load()
    job = settings.job(dataset)
    exact = settings.in_float32().job(dataset)
    like = create_state(job.params, job.batch_stats, job.tx, jax.random.key(job.seed))
    with Checkpoints(run.path / "checkpoints", read_only=True) as checkpoints:
        epochs = checkpoints.epochs()
        early = [epoch for epoch in epochs if epoch < job.epochs]
        epoch = early[-1] if unfinished and early else epochs[-1]
        state = checkpoints.restore(epoch, like)
    return Restored(run, job, exact, dataset, state, epoch)
