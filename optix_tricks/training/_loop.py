"""The host's side of a run: epochs, evaluation, records, checkpoints, progress."""

import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optix_tricks.training._checkpoint import Checkpoints
from optix_tricks.training._data import Dataset
from optix_tricks.training._epoch import (
    Evaluation,
    Series,
    epoch_orders,
    make_epoch,
    steps_per_epoch,
    total_steps,
)
from optix_tricks.training._events import EventFile
from optix_tricks.training._job import Job
from optix_tricks.training._progress import Progress
from optix_tricks.training._resnet import count_parameters
from optix_tricks.training._run_directory import RunDirectory, RunError
from optix_tricks.training._state import TrainState, create_state

NUMBERS = ("loss", "gradient_norm")  # of a step, without which there is no run


_epoch_of = functools.lru_cache(maxsize=16)(make_epoch)  # of a step one epoch


class Result(NamedTuple):
    """What a run came to; written to result.json."""

    test: Evaluation
    epochs: float
    steps: int
    parameters: int
    seconds: float  # of the training epochs, compilation included, evaluation not

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers by name, such as `test_loss` and `test_accuracy`."""
        of_test = {"loss": self.test.loss, **self.test.metrics, "size": self.test.size}
        named = {f"test_{name}": x for name, x in of_test.items()}
        return named | {name: x for name, x in self._asdict().items() if name != "test"}


def train(
    job: Job, dataset: Dataset, run: RunDirectory, *, resume: bool = False
) -> tuple[TrainState, Result]:
    """Train from the start, or from the run's newest checkpoint.

    A run that was stopped and resumed ends, on the same machine, in the same bits as one
    that was not: every draw follows from the seed, the epoch and the step alone.

    Args:
      job: from a recipe.
      dataset: in memory; it is copied to the device once.
      run: gets metrics.jsonl, tensorboard/, checkpoints/ and result.json.
      resume: continue from the newest checkpoint; rows past it are written anew.

    Returns:
      The last state and the result.

    Raises:
      RunError: if the loss is not finite, or the disk is full.
      CheckpointError: if there is no checkpoint, or one of another model.
    """
    train_data, test_data = jax.tree.map(jnp.asarray, (dataset.train, dataset.test))
    epoch, settled_epoch = _epoch_of(job.step), _epoch_of(job.settled_step)
    evaluate = job.make_evaluate(views=False)
    final = evaluate if job.test_views is None else job.make_evaluate()
    state = create_state(
        job.params,
        job.batch_stats,
        job.tx,
        jax.random.key(job.seed),
        packed=job.packed,
    )
    of_data = job.epochs, dataset.train.size, job.batch_size
    steps = steps_per_epoch(*of_data[1:])

    with Checkpoints(run.path / "checkpoints") as checkpoints:
        done, seconds = 0, 0.0
        if resume:
            done = checkpoints.latest_epoch()
            state = checkpoints.restore(done, state)
            rows = run.cut_metrics(done * steps)
            seconds = sum(row["seconds"] for row in rows[-1:])  # the last is a test
        with (
            EventFile(run.path / "tensorboard", from_step=done * steps + 1) as events,
            Progress(job.epochs, steps, job.batch_size) as progress,
        ):
            orders = epoch_orders(jnp.copy(state.key), *of_data, first=done)
            for number, order in enumerate(orders, start=done):
                start = time.perf_counter()
                run_epoch = settled_epoch if job.is_settled(number) else epoch
                state, metrics = run_epoch(
                    state, train_data, order, on_step=progress.on_step(number)
                )
                seconds += time.perf_counter() - start
                rows = list(_rows(metrics, number, steps))
                _record(run, events, rows)
                _check_finite(rows, run.path)
                tested = evaluate(state, test_data)
                test_row = {
                    "kind": "test",
                    "step": rows[-1]["step"],
                    "epoch": min(number + 1, job.epochs),
                    "loss": tested.loss,
                    **tested.metrics,
                    "seconds": seconds,
                }
                _record(run, events, [test_row])
                progress.end_epoch(number, rows, test_row)
                last = number + 1 >= job.epochs
                if last or (number + 1) % job.checkpoint_every == 0:
                    checkpoints.save(number + 1, state)
        tested = final(state, test_data)
    result = Result(
        test=tested,
        epochs=job.epochs,
        steps=total_steps(*of_data),
        parameters=count_parameters(job.params),
        seconds=seconds,
    )
    run.write_json("result.json", result.as_json())
    return state, result


def _rows(metrics: Series, epoch: int, steps: int) -> Iterator[dict[str, Any]]:
    """A row a step, of Python numbers; steps count from 1."""
    columns = {name: np.asarray(x, float) for name, x in jax.device_get(metrics).items()}
    for i in range(len(columns["loss"])):
        step = epoch * steps + i + 1
        row = {"kind": "train", "step": step, "epoch": step / steps}
        yield row | {name: float(column[i]) for name, column in columns.items()}


def _record(run: RunDirectory, events: EventFile, rows: list[dict[str, Any]]) -> None:
    run.append_metrics(rows)
    events.add(rows)


def _check_finite(rows: list[dict[str, Any]], path: Path) -> None:
    """Raise where training cannot recover from numbers that are not finite.

    Under a loss scale, and where bad steps are skipped, one does no harm; a whole epoch
    of them does, once the scale is at its least.
    """
    bad = [(row, name) for row in rows for name in NUMBERS if not np.isfinite(row[name])]
    if not bad:
        return
    last = rows[-1]
    guarded = any(name.endswith("last_finite") for name in last)
    all_bad = len({row["step"] for row, _ in bad}) == len(rows)
    may_fall = "loss_scale" in last and last["loss_scale"] > last["min_scale"]
    if guarded and (may_fall or not all_bad):
        return
    row, name = bad[0]
    raise RunError(
        f"{name} became {row[name]} at step {row['step']}: lower --learning-rate or "
        "lengthen the warm-up. The steps before are in "
        f"{path / 'metrics.jsonl'}."
    )
