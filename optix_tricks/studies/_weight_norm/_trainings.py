"""Recorded trainings: the article's plots i to vii, and the law at a constant rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from optix_tricks.dynamics import WeightNormRecord, compare_equilibrium, equilibrium
from optix_tricks.studies._weight_norm._config import (
    Config,
    OnStep,
    heavy_ball,
    peaked_schedule,
)
from optix_tricks.studies._weight_norm._invariant import invariant_layers
from optix_tricks.studies._weight_norm._recorded import record_training
from optix_tricks.training import Dataset, kernels_in_order, steps_per_epoch
from optix_tricks.training._dataset import PathLike


def run_schedules(
    config: Config, dataset: Dataset, path: Path, on_step: OnStep
) -> dict[str, Any]:
    """Train with and without momentum, the rate rising and falling.

    Writes sgd.npz and momentum.npz. The law is read off between the second epoch and the
    last tenth of the steps, in which the rate leaves its equilibrium behind.
    """
    per_epoch = steps_per_epoch(dataset.train.size, config.batch_size)
    steps = config.epochs * per_epoch
    settings = {
        "sgd": (config.learning_rate / (1 - config.momentum), 0.0),
        "momentum": (config.learning_rate, config.momentum),
    }
    return {
        name: _recorded(
            config,
            dataset,
            path / f"{name}.npz",
            learning_rate=peaked_schedule(peak, steps),
            momentum=momentum,
            steps=steps,
            stretch=(min(2 * per_epoch, steps // 2), round(0.9 * steps)),
            on_step=lambda done, place=place: on_step(place * steps + done, 2 * steps),
        )
        for place, (name, (peak, momentum)) in enumerate(settings.items())
    }


def run_constant(
    config: Config, dataset: Dataset, path: Path, on_step: OnStep
) -> dict[str, Any]:
    """Train at a constant rate; read the law off in the second half of the steps.

    Writes constant.npz.
    """
    steps = config.constant_steps
    law = equilibrium(
        "heavy_ball",
        learning_rate=config.constant_rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
    )
    return {
        "constant": _recorded(
            config,
            dataset,
            path / "constant.npz",
            learning_rate=config.constant_rate,
            momentum=config.momentum,
            steps=steps,
            stretch=(steps // 2, steps),
            on_step=lambda done: on_step(done, steps),
        ),
        "relaxation_steps": float(np.asarray(law.relaxation_steps)),
    }


def _recorded(
    config: Config,
    dataset: Dataset,
    path: Path,
    *,
    learning_rate: Any,
    momentum: float,
    steps: int,
    stretch: tuple[int, int],
    on_step: Any,
) -> dict[str, Any]:
    """Train, save the record, and compare it with the law on a stretch of steps."""
    tx = heavy_ball(learning_rate, weight_decay=config.weight_decay, momentum=momentum)
    job = config.job(dataset)._replace(tx=tx)
    invariant = invariant_layers(job, dataset)
    order = list(kernels_in_order(*job[:3], jnp.asarray(dataset.train.inputs[:1])))
    recorded = record_training(
        job,
        dataset,
        steps=steps,
        learning_rate=learning_rate,
        weight_decay=config.weight_decay,
        momentum=momentum,
        on_step=on_step,
    )
    np.savez_compressed(path, **recorded.record._asdict())
    return {
        "test_accuracy": recorded.test_accuracy,
        "from_step": stretch[0],
        "to_step": stretch[1],
        "layers": sorted(
            _compared(recorded.record, invariant.names, stretch),
            key=lambda row: order.index(row["layer"]),
        ),
    }


def _compared(
    record: WeightNormRecord, invariant: tuple[str, ...], stretch: tuple[int, int]
) -> list[dict[str, Any]]:
    """A row a layer: measured, predicted, corrected; those that obey no law too."""
    kind = "heavy_ball" if float(record.momentum) else "sgd"
    found = compare_equilibrium(kind, record, start=stretch[0], stop=stretch[1])
    columns = {
        name: np.asarray(x, float).tolist()
        for name, x in found._asdict().items()
        if name not in ("layers", "invariant")  # by `scale_invariance` instead
    }
    taken = (record.step >= stretch[0]) & (record.step < stretch[1])
    cosine = np.abs(record.weight_cosine[taken]).mean(0)
    with_trace = record.trace_cosine[taken].mean(0)
    return [
        {
            "layer": str(layer),
            "scale_invariant": str(layer) in invariant,
            **{name: column[i] for name, column in columns.items()},
            "weight_cosine": float(cosine[i]),
            "trace_cosine": float(with_trace[i]),
        }
        for i, layer in enumerate(record.layers)
    ]


def load_record(path: PathLike) -> WeightNormRecord:
    """Read a record back."""
    with np.load(path) as file:
        return WeightNormRecord(**file)


def only(record: WeightNormRecord, layers: Sequence[str]) -> WeightNormRecord:
    """Return the record of some of its layers, in their order."""
    there = [str(name) for name in record.layers]
    taken = np.array([there.index(name) for name in layers], int)
    columns = {
        name: x[:, taken] for name, x in record._asdict().items() if np.ndim(x) == 2
    }
    return record._replace(layers=record.layers[taken], **columns)
