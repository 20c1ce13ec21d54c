"""A run taken up again from its checkpoint, without touching it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from optix_tricks import recipes, reports
from optix_tricks.training import (
    CheckpointError,
    Checkpoints,
    Dataset,
    Job,
    TrainState,
    create_state,
)
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._watch import Choice


class Restored(NamedTuple):
    """What a run trained, on what, and how far it was."""

    run: reports.Run
    settings: recipes.Run
    dataset: Dataset
    job: Job
    state: TrainState
    epoch: int  # epochs done

    def in_float32(self) -> Job:
        """Return the same job with activations in float32, to measure with."""
        return self.settings.resumed().in_float32().job(self.dataset)


def restore_run(
    path: PathLike,
    *,
    data_dir: PathLike | None = None,
    unfinished: bool = False,
    checkpoint: str | int = "newest",
) -> Restored:
    """Restore a checkpoint of a run, finished or not.

    Args:
        path: the directory of the run.
        data_dir: where the data are, if not where they were.
        unfinished: whether the last epoch's checkpoint is passed over if there is one
            before.
        checkpoint: "newest", "best", of those that are there by the metric that the run
            kept its best by, or how many epochs it comes after.

    Raises:
        ReportError: if `path` is not a run's directory.
        RunError: if the run's recipe or settings are unknown to this version.
        CheckpointError: if it has no sound checkpoint, or one of another model; or the
            one that is asked for is damaged.
        ValueError: if `checkpoint` is none of these.

    Warns:
        DamagedCheckpoint: if the newest is damaged and passed over for an older one.
    """
    run = reports.read_run(path)
    if not (run.path / "checkpoints").is_dir():
        raise CheckpointError(
            f"run {run.path}, of {run.recipe!r}, has no complete checkpoint: take"
            " the directory of a training that came to the end of an epoch."
        )
    settings = recipes.reconfigure(run.path, run.recipe, run.config, from_copy=True)
    if data_dir is not None:
        settings = settings.from_directory(data_dir)
    dataset = settings.load()
    job = settings.resumed().job(dataset)
    key = jax.random.key(job.seed)
    like = create_state(job.params, job.batch_stats, job.tx, key, packed=job.packed)
    with Checkpoints(run.path / "checkpoints", read_only=True) as checkpoints:
        early = any(epoch < job.epochs for epoch in checkpoints.epochs())
        last = job.epochs if unfinished and early else math.inf
        if checkpoint == "newest":
            epoch = checkpoints.newest_sound(before=last)
        else:
            epoch = _chosen(checkpoint, run, job, checkpoints.epochs())
        state = checkpoints.restore(epoch, like)
    return Restored(run, settings, dataset, job, state, epoch)


def _chosen(
    checkpoint: str | int, run: reports.Run, job: Job, epochs: Sequence[int]
) -> int:
    """The number of epochs of a checkpoint that is asked for by name or number."""
    if checkpoint != "best":
        if not str(checkpoint).isdecimal():
            raise ValueError(
                "checkpoint must be newest, best or the number of an epoch, got"
                f" {checkpoint!r}."
            )
        return int(checkpoint)
    said = job.keep_best or (None if job.stop is None else "loss")
    if said is None:
        raise CheckpointError(
            f"run {run.path} kept no best checkpoint: train with --keep-best loss, or"
            " take the newest."
        )
    metric, mode = Choice.of(said)
    sign = 1 if mode == "min" else -1
    rows = (run.validation.get(name, ()) for name in ("epoch", metric))
    values = zip(*rows, strict=True)
    found = [(sign * x, math.ceil(epoch)) for epoch, x in values if math.isfinite(x)]
    found = [each for each in found if each[1] in epochs]
    if not found:
        raise CheckpointError(f"no checkpoint in {run.path} has a validation row.")
    return min(found)[1]
