"""A recipe's job under many settings and seeds."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._paths import Examples
from optix_tricks._tree import PyTree
from optix_tricks.training._batch import Batch
from optix_tricks.training._dataset import Dataset
from optix_tricks.training._job import Job
from optix_tricks.training._state import TrainState, create_state
from optix_tricks.training._step import Metrics
from optix_tricks.training._sweep import Sweep, sweep

BETWEEN = (  # what happens but in `train`
    "phases",
    "stop",
    "observe",
    "begin",
    "crop",
    "restores",
    "keep_best",
)


def is_of_one_step(job: Job) -> bool:
    """Whether nothing happens between its epochs."""
    return not any(getattr(job, name) for name in BETWEEN)


def sweep_jobs(
    build_job: Callable[[Any, int], Job],
    dataset: Dataset,
    *,
    settings: Examples,
    seeds: Sequence[int],
    views: bool = True,
    **options: Any,
) -> Sweep:
    """Train a recipe's job under every setting with every seed; see `sweep`.

    Args:
        build_job: `build_job(setting, seed)` returns the job of a recipe. It is called
            once a member, and with a traced setting where the step is compiled: so it
            must not branch on it, and shapes, `epochs` and `batch_size` must not depend
            on it.
        dataset: to train and test on.
        settings: a tree of arrays [settings, ...].
        seeds: of networks, shuffling and augmentation.
        views: whether tests are of the job's views, or of one.
        **options: `stop`, `mode`, `chunk_size`, `scan` and `devices` of `sweep`.

    Returns:
        A sweep whose history has the metrics of `make_train_step` at each step, and
        `test_loss` and the job's metrics as `test_accuracy` after each epoch.

    Raises:
        ValueError: if something is to happen between the jobs' epochs, as in phases; and
            see `sweep`.
    """
    if not seeds:
        raise ValueError("seeds must hold one or more, got none.")
    if any(jnp.shape(x)[:1] == (0,) for x in jax.tree.leaves(settings)):
        raise ValueError("settings must hold one or more, got none.")
    first = build_job(jax.tree.map(lambda x: x[0], settings), seeds[0])
    for name in BETWEEN:
        if getattr(first, name):
            raise ValueError(
                f"build_job must return jobs of one step throughout, got one with {name}:"
                " train each of them by itself."
            )

    def init(setting: PyTree, seed: int) -> TrainState:
        job = build_job(setting, seed)
        return create_state(job.params, job.batch_stats, job.tx, jax.random.key(job.seed))

    def step(
        setting: PyTree, state: TrainState, batch: Batch
    ) -> tuple[TrainState, Metrics]:
        # Of this job only the functions are used, not the weights.
        return build_job(setting, seeds[0]).step(state, batch)

    tested = first if views else first._replace(test_views=None)

    def evaluate(state: TrainState, batch: Batch) -> dict[str, Array]:
        outputs = tested.predicted(state, batch.inputs)
        counted = {"loss": first.test_loss, **first.counted(outputs, batch.targets)}
        return {
            f"test_{name}": of(outputs, batch.targets) for name, of in counted.items()
        }

    numbers = jnp.arange(dataset.train.size)
    return sweep(
        init,
        step,
        settings=settings,
        seeds=seeds,
        data=jax.tree.map(jnp.asarray, dataset.train._replace(indices=numbers)),
        epochs=first.epochs,
        batch_size=first.batch_size,
        evaluate=evaluate,
        test_data=jax.tree.map(jnp.asarray, dataset.test),
        **options,
    )
