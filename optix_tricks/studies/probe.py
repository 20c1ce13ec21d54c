"""What a run did not log: it trains on from a checkpoint with everything measured."""

import itertools
import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from optix_tricks._tree import PyTree, global_norm
from optix_tricks.dynamics import eigenpairs, hessian_operator, noise_scale_from_norms
from optix_tricks.studies._layer_order import kernels_in_order
from optix_tricks.studies._restored import restore_run
from optix_tricks.training.dataset import Dataset
from optix_tricks.training.epoch import epoch_order, steps_per_epoch
from optix_tricks.training.loop import Job
from optix_tricks.training.run_directory import explained, finite
from optix_tricks.training.state import TrainState
from optix_tricks.training.step import Batch, make_train_step, step_keys

STEPS = 150
PLACES = 3  # at which what is dear is measured
BATCHES = 8  # of the training's size, for the noise scale and silent units
IMAGES = 256  # of the curvature
MATVECS = 12

Row = dict[str, Any]


def probe_run(
    path: str | os.PathLike[str],
    *,
    data_dir: str | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Train some steps on from a run's checkpoint and measure what it did not log.

    The run is not changed: the steps are those that it took after the checkpoint or would
    have taken, same batches, same augmentation, same rates. Of a finished run the last
    checkpoint but one is taken, since at the end of most schedules nothing moves.

    At every step: the metrics of the training step, and `gradient_cosine` with the
    gradient before. At three of them, on the training loss: `noise_scale`, of eight
    batches of the training's size; by layer `gradient_norm/`, `parameter_norm/` and
    `dead_fraction/`, the share of outputs whose weights get no gradient from any of the
    eight; `curvature` and `lowest_curvature`, by twelve Hessian products on 256 training
    images, normalised by their own statistics. Layers are those with a kernel, in the
    order of their use.

    Args:
        path: the directory of a run with a checkpoint. The rows go into probe.jsonl.
        data_dir: where the data are, if not where they were.
        on_step: called after each step with how many are done of how many.

    Returns:
        A row a step, to be appended to the run's rows up to the checkpoint.

    Raises:
        ReportError: if `path` is not a run's directory.
        RunError: if the run's recipe or settings are unknown to this version.
        CheckpointError: if it has no checkpoint, or one of another model.
    """
    run, job, dataset, state, epoch = restore_run(
        path, data_dir=data_dir, unfinished=True
    )
    rows = _rows(job, dataset, state, epoch, on_step)
    text = "".join(json.dumps(finite(row)) + "\n" for row in rows)
    with explained(run.path):
        (run.path / "probe.jsonl").write_text(text)
    return rows


def _rows(
    job: Job,
    dataset: Dataset,
    state: TrainState,
    epoch: int,
    on_step: Callable[[int, int], None],
) -> list[Row]:
    data = Batch(jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels))
    size = len(dataset.train_labels)
    per_epoch = steps_per_epoch(size, job.batch_size)
    left = (job.epochs - epoch) * per_epoch
    steps = min(STEPS, left) if left > 0 else STEPS
    tx = _recording(job.tx)
    step = make_train_step(
        job.apply, job.loss, tx, augment=job.augment, mix=job.mix, penalty=job.penalty
    )
    one_step = jax.jit(lambda state, data, index: step(state, _taken(data, index)))
    measure = _make_measure(job, data)
    nothing = jax.tree.map(jnp.zeros_like, state.params)
    state = state._replace(opt_state=_Recorded(state.opt_state, nothing, jnp.nan))
    indices = (
        index
        for number in itertools.count(epoch)
        for index in epoch_order(state.key, number, size, job.batch_size)
    )
    places = set(np.linspace(0, steps - 1, PLACES).round().astype(int).tolist())
    rows = []
    for number, index in zip(range(steps), indices, strict=False):
        row = {"step": int(state.step) + 1, "epoch": epoch + (number + 1) / per_epoch}
        if number in places:
            row |= measure(state)
        state, metrics = one_step(state, data, index)
        metrics["gradient_cosine"] = state.opt_state.cosine
        row |= {name: float(x) for name, x in jax.device_get(metrics).items()}
        rows.append(row)
        on_step(number + 1, steps)
    return rows


class _Recorded(NamedTuple):
    """State of `_recording`."""

    inner_state: Any
    gradient: PyTree  # of the last step
    cosine: Any  # with that of the step before


def _recording(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Run an optimiser, and compare each gradient with the one before."""
    inner = optax.with_extra_args_support(inner)

    def update(
        grads: PyTree, state: _Recorded, params: PyTree, **extra: Any
    ) -> tuple[PyTree, _Recorded]:
        updates, inner_state = inner.update(grads, state.inner_state, params, **extra)
        both = global_norm(grads) * global_norm(state.gradient)
        product = optax.tree.vdot(grads, state.gradient)
        return updates, _Recorded(inner_state, grads, product / both)

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _make_measure(job: Job, data: Batch) -> Callable[[TrainState], Row]:
    """Return the function of a state that measures what is dear."""
    layers = kernels_in_order(job, data.images[:1])

    @jax.jit
    def gradient(state: TrainState, data: Batch, number: Array) -> PyTree:
        """Of another batch than the training will see next."""
        keys = step_keys(jax.random.fold_in(state.key, number), state.step)
        index = jax.random.randint(keys.mix, (job.batch_size,), 0, len(data.labels))
        images, labels = _taken(data, index)
        if job.augment is not None:
            images = job.augment(keys.augment, images)
        if job.mix is not None:
            images, labels = job.mix(keys.mix, images, labels)

        def loss(params: PyTree) -> Array:
            logits, _ = job.apply(
                params, state.batch_stats, images, train=True, key=keys.network
            )
            return jnp.mean(job.loss(logits, labels))

        return jax.grad(loss)(state.params)

    def measure(state: TrainState) -> Row:
        gradients = [gradient(state, data, number) for number in jnp.arange(BATCHES)]
        mean = jax.tree.map(lambda *g: sum(g) / BATCHES, *gradients)
        noise = noise_scale_from_norms(
            jnp.mean(jnp.stack([global_norm(g) for g in gradients]) ** 2)[None],
            (global_norm(mean) ** 2)[None],
            b_small=job.batch_size,
            b_big=BATCHES * job.batch_size,
        )
        row = {"noise_scale": float(noise.noise_scale)} | _curvature(job, data, state)
        for name, place in layers.items():
            of_layer = [jax.tree.leaves(g)[place] for g in gradients]
            silent = jnp.stack([jnp.all(g == 0, range(g.ndim - 1)) for g in of_layer])
            weights = jax.tree.leaves(state.params)[place]
            row[f"gradient_norm/{name}"] = float(global_norm(of_layer[0]))
            row[f"parameter_norm/{name}"] = float(global_norm(weights))
            row[f"dead_fraction/{name}"] = float(jnp.mean(jnp.all(silent, axis=0)))
        return row

    return measure


def _curvature(job: Job, data: Batch, state: TrainState) -> Row:
    """The ends of the spectrum of the training loss of some images."""

    def loss(params: PyTree, batch: Batch) -> Array:
        logits, _ = job.apply(
            params, state.batch_stats, batch.images, train=True, key=state.key
        )
        return jnp.mean(job.loss(logits, batch.labels))

    few = _taken(data, slice(IMAGES))
    ends = eigenpairs(
        hessian_operator(loss, state.params, batches=[few]),
        state.params,
        which="both",
        num_matvecs=MATVECS,
        key=jax.random.key(0),
    )
    highest, lowest = map(float, ends.values)
    return {"curvature": highest, "lowest_curvature": lowest}


def _taken(data: Batch, index: Any) -> Batch:
    return Batch(data.images[index], data.labels[index])
