"""Test accuracy against the learning rate: full trainings, each kept once it is done."""

import functools
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optix_tricks.training import (
    Batch,
    Dataset,
    Job,
    RunError,
    TrainState,
    create_state,
    epoch_orders,
    jit,
)
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._json_numbers import finite
from optix_tricks.training._run_directory import explained


class RateSweep(NamedTuple):
    """Results of trainings; NaN where the loss was not finite at the end of an epoch."""

    rates: Float[np.ndarray, " rates"]
    seeds: tuple[int, ...]
    accuracy: Float[np.ndarray, "rates seeds"]  # on the test images
    loss: Float[np.ndarray, "rates seeds"]


def sweep_learning_rates(
    build_job: Callable[[Any, int], Job],
    dataset: Dataset,
    *,
    rates: Sequence[float],
    seeds: Sequence[int],
    path: PathLike,
    name: str = "",
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> RateSweep:
    """Train at each rate with each seed, one after the other, and test.

    Each finished training is a line of a file, written at once: a sweep that was stopped
    goes on with what is missing, and more rates or seeds can be asked for later. All
    share one compilation, since the rate is an argument of the compiled step.

    Args:
        build_job: `build_job(rate, seed)` returns the job of a recipe; it is called with
            a traced rate too, so it must not branch on it. Networks differ by their
            values alone from seed to seed.
        dataset: to train and test on.
        rates: of the trainings.
        seeds: of each rate.
        path: a file of JSON lines, made if it is not there.
        name: written into each line; lines of other names are left alone, so that one
            file can hold the sweeps of many networks.
        on_epoch: called after each epoch with how many are done of how many, those of
            earlier calls included.

    Returns:
        Accuracies and losses, by rate and seed.

    Raises:
        RunError: if the file cannot be written, or a line of it is no result.
    """
    path = Path(path)
    done = {
        (row["rate"], row["seed"]): row
        for row in _complete_rows(path)
        if row["name"] == name
    }
    pairs = [(float(rate), int(seed)) for rate in rates for seed in seeds]
    missing = [pair for pair in pairs if pair not in done]
    if missing:
        first = build_job(*missing[0])
        epochs = math.ceil(first.epochs)
        total = len(pairs) * epochs
        counted = (len(pairs) - len(missing)) * epochs
        run = _compiled(build_job, dataset, missing[0][1])
        for rate, seed in missing:
            start = time.perf_counter()
            loss, accuracy = run(
                rate, seed, functools.partial(_told, on_epoch, counted, total)
            )
            counted += epochs
            row = {"name": name, "rate": rate, "seed": seed, "test_accuracy": accuracy}
            row |= {"test_loss": loss, "seconds": time.perf_counter() - start}
            done[rate, seed] = row
            with explained(path), path.open("a") as file:
                file.write(json.dumps(finite(row)) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def table(column: str) -> np.ndarray:
        values = [[done[float(r), int(s)][column] for s in seeds] for r in rates]
        return np.array(values, float)  # None becomes NaN

    return RateSweep(
        np.array(rates, float),
        tuple(int(seed) for seed in seeds),
        table("test_accuracy"),
        table("test_loss"),
    )


def _told(
    on_epoch: Callable[[int, int], None], before: int, total: int, epochs: int
) -> None:
    on_epoch(before + epochs, total)


def _compiled(
    build_job: Callable[[Any, int], Job], dataset: Dataset, some_seed: int
) -> Callable[[float, int, Callable[[int], None]], tuple[float, float]]:
    """Return `run(rate, seed, on_epoch) -> (loss, accuracy)` around one compiled step."""
    data = Batch(jnp.asarray(dataset.train.inputs), jnp.asarray(dataset.train.targets))
    tests = Batch(jnp.asarray(dataset.test.inputs), jnp.asarray(dataset.test.targets))
    size = dataset.train.size

    @functools.partial(jit, donate_argnums=0)
    def one_step(
        state: TrainState, rate: Array, data: Batch, index: Array
    ) -> tuple[TrainState, Array]:
        job = build_job(rate, some_seed)  # its network is not used, only its functions
        state, metrics = job.step(state, data.take(index))
        return state, metrics["loss"]

    @functools.cache
    def evaluation() -> Callable[..., Any]:
        return build_job(0.0, some_seed).make_evaluate()

    def run(
        rate: float, seed: int, on_epoch: Callable[[int], None]
    ) -> tuple[float, float]:
        job = build_job(rate, seed)
        key = jax.random.key(job.seed)
        state = create_state(job.params, job.batch_stats, job.tx, key)
        orders = epoch_orders(key, job.epochs, size, job.batch_size)
        for epoch, order in enumerate(orders):
            for index in order:
                state, loss = one_step(state, jnp.asarray(rate), data, index)
            on_epoch(epoch + 1)
            if not jnp.isfinite(loss):
                return float("nan"), float("nan")
        tested = evaluation()(state, tests)
        return tested.loss, tested.metrics["accuracy"]

    return run


def _complete_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; a last line that was cut off is taken away."""
    if not path.exists():
        return []
    with explained(path):
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            os.truncate(path, len(whole))
    rows = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            rows.append(json.loads(line))
            _ = [rows[-1][name] for name in ("name", "rate", "seed", "test_accuracy")]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"line {number} of {path} is not a training's result: restore the file, "
                "or take the line out to have it trained again."
            ) from error
    return rows
