"""What a run came to, and the rows that say how."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from optix_tricks.training._dataset import Dataset
from optix_tricks.training._epoch import Evaluation, Series
from optix_tricks.training._events import EventFile
from optix_tricks.training._examples import write_examples
from optix_tricks.training._run_directory import RunDirectory

Rows = Sequence[dict[str, Any]]


class Result(NamedTuple):
    """What a run came to; written to result.json."""

    test: Evaluation
    epochs: float  # trained
    steps: int
    parameters: int
    seconds: float  # of the training epochs, compilation included, evaluation not
    validation: Evaluation | None = None  # of the same weights and views as the test
    best_epoch: float | None = None  # whose weights are tested, where some are chosen
    kept_epoch: float | None = None  # whose checkpoint is kept, `Job.keep_best`

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers by name, such as `test_loss` and `test_accuracy`."""
        named: dict[str, Any] = {}
        for name, x in self._asdict().items():
            if isinstance(x, Evaluation):
                numbers = {"loss": x.loss, **x.metrics, "size": x.size}
                named |= {f"{name}_{key}": number for key, number in numbers.items()}
            elif x is not None:
                named[name] = x
        return named


def test_row(kind: str, place: dict[str, Any], found: Evaluation) -> dict[str, Any]:
    """The row of an evaluation after an epoch."""
    return {"kind": kind, **place, "loss": found.loss, **found.metrics}


def training_rows_after(rows: Rows, step: int) -> list[dict[str, Any]]:
    """Those of the epoch that begins after a step, of a run stopped within it."""
    return [row for row in rows if row["kind"] == "train" and row["step"] > step]


def training_rows(
    metrics: Series, epoch: int, steps: int, first: int = 0
) -> Iterator[dict[str, Any]]:
    """A row a step, of Python numbers; steps count from 1, `first` of them before."""
    columns = {name: np.asarray(x, float) for name, x in jax.device_get(metrics).items()}
    for i in range(len(columns["loss"])):
        step = epoch * steps + first + i + 1
        row = {"kind": "train", "step": step, "epoch": step / steps}
        yield row | {name: float(column[i]) for name, column in columns.items()}


def write_result(
    run: RunDirectory, result: Result, speed: dict[str, Any], dataset: Dataset
) -> None:
    """Write what a run came to: of classes which is taken for which, how fast it was.

    Of images also those of the worst and the best loss.
    """
    counts = result.test.confusion
    if counts is not None and len(counts) == dataset.num_classes:
        matrix = {"classes": dataset.class_names, "counts": counts}
        run.write_json("confusion.json", matrix)
        write_examples(run, result.test, dataset)
    if speed:
        run.write_json("speed.json", speed)
    run.write_json("result.json", result.as_json())


def record(
    run: RunDirectory, events: EventFile | None, rows: list[dict[str, Any]]
) -> None:
    run.append_metrics(rows)
    if events is not None:
        events.add(rows)
