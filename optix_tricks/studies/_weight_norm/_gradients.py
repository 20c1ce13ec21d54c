"""Gradient norms at one point against the batch size: why the rates scale as they do."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optix_tricks._tree import PyTree, global_norm
from optix_tricks.studies._weight_norm._config import Config, OnStep, heavy_ball
from optix_tricks.studies._weight_norm._invariant import invariant_layers
from optix_tricks.training import (
    Batch,
    Dataset,
    create_state,
    epoch_order,
    make_epoch,
    make_train_step,
    steps_per_epoch,
)

SIZES = (32, 64, 128, 256, 512, 1024)
BATCHES = 8  # of each size


def run_gradients(
    config: Config, dataset: Dataset, path: Path, on_step: OnStep
) -> dict[str, Any]:
    """Train for an epoch at the constant rate, then measure gradients of many batches.

        E|g_n|² = |G|² + tr Σ / n

    of all scale-invariant layers together: while noise dominates |g| falls as 1/sqrt(n).
    Images are not augmented, and normalised by their own batch.
    """
    del path
    tx = heavy_ball(
        config.constant_rate, weight_decay=config.weight_decay, momentum=config.momentum
    )
    job = config.job(dataset, width=config.sweep_width)._replace(tx=tx)
    mask = invariant_layers(job, dataset).mask
    size = dataset.train.size
    steps = steps_per_epoch(size, config.batch_size)
    sizes = [n for n in SIZES if n <= size]
    total = steps + len(sizes) * BATCHES
    step = make_train_step(job.apply, job.loss, tx, augment=job.augment)
    data = Batch(jnp.asarray(dataset.train.inputs), jnp.asarray(dataset.train.targets))
    state = create_state(job.params, job.batch_stats, tx, jax.random.key(job.seed))
    order = epoch_order(state.key, 0, size, config.batch_size)
    state, _ = make_epoch(step)(
        state, data, order, on_step=lambda done: on_step(done, total)
    )

    @jax.jit
    def square(images: Array, labels: Array) -> Array:
        def loss(params: PyTree) -> Array:
            logits, _ = job.apply(params, state.batch_stats, images, train=True)
            return jnp.mean(job.loss(logits, labels))

        gradients = jax.grad(loss)(state.params)
        return (
            global_norm(jax.tree.map(lambda g, m: g if m else None, gradients, mask)) ** 2
        )

    rng = np.random.default_rng(config.seed)
    squares = np.empty((len(sizes), BATCHES))
    for place, repeat in np.ndindex(squares.shape):
        index = rng.choice(size, sizes[place], replace=False)
        squares[place, repeat] = square(*data.take(jnp.asarray(index))[:2])
        on_step(steps + place * BATCHES + repeat, total)
    means = squares.mean(axis=1)
    error = squares.std(axis=1, ddof=1) / np.sqrt(BATCHES)
    noise, signal = np.polyfit(1 / np.array(sizes), means, 1, w=1 / error)
    return {
        "batch_sizes": sizes,
        "square_norm": means.tolist(),
        "standard_error": error.tolist(),
        "noise": noise,
        "signal": signal,
    }
