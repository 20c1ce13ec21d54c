"""What a run did not log: it trains on from a checkpoint with everything measured."""

import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from optix_tricks._files import replace_file
from optix_tricks._tree import PyTree, global_norm
from optix_tricks.dynamics import eigenpairs, hessian_operator, noise_scale_from_norms
from optix_tricks.runs._restored import restore_run
from optix_tricks.training import (
    Batch,
    Dataset,
    Job,
    TrainState,
    epoch_order,
    jit,
    kernels_in_order,
    prepared,
    step_keys,
    steps_per_epoch,
    total_steps,
)
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._json_numbers import finite
from optix_tricks.training._run_directory import explained

STEPS = 150
SEED = 0  # of the Hessian products
PLACES = 3  # at which what is dear is measured
BATCHES = 8  # of the training's size, for the noise scale and silent units
IMAGES = 256  # of the curvature
MATVECS = 12

Row = dict[str, Any]


def probe_run(
    path: PathLike,
    *,
    data_dir: PathLike | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Train some steps on from a run's checkpoint and measure what it did not log.

    The run is not changed: the steps are those that it took after the checkpoint or would
    have taken, same batches, same augmentation, same rates. Of a finished run the last
    checkpoint but one is taken, since at the end of most schedules nothing moves.

    At every step: the metrics of the training step, and `gradient_cosine` with the
    gradient before. At three of them, on the training loss and in float32 whatever the
    run computes in: `noise_scale`, of eight batches of the training's size, all three
    places together, or its lower bound where noise is all that is seen; by layer
    `gradient_norm/`, `parameter_norm/` and `dead_fraction/`, the share of outputs whose
    weights get no gradient from any of the eight; `curvature` and `lowest_curvature`, by
    twelve Hessian products on 256 training images, not mixed, normalised by their own
    statistics. Layers are those with a kernel, in the order of their use.

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
    restored = restore_run(path, data_dir=data_dir, unfinished=True)
    run, _, dataset, job, state, epoch = restored
    rows = _rows(job, restored.in_float32(), dataset, state, epoch, on_step)
    text = "".join(json.dumps(finite(row)) + "\n" for row in rows)
    with explained(run.path):
        replace_file(run.path / "probe.jsonl", text.encode())
    return rows


def _rows(
    job: Job,
    exact: Job,
    dataset: Dataset,
    state: TrainState,
    epoch: int,
    on_step: Callable[[int, int], None],
) -> list[Row]:
    data = Batch(jnp.asarray(dataset.train.inputs), jnp.asarray(dataset.train.targets))
    size = dataset.train.size
    per_epoch = steps_per_epoch(size, job.batch_size)
    left = total_steps(job.epochs, size, job.batch_size) - epoch * per_epoch
    steps = min(STEPS, left) if left > 0 else STEPS
    tx = _recording(job.tx)
    step = job._replace(tx=tx).step
    one_step = jit(lambda state, data, index: step(state, data.take(index)))
    measure = _make_measure(exact, data)
    nothing = jax.tree.map(jnp.zeros_like, state.params)
    unknown = jnp.full((), jnp.nan, jnp.float32)
    state = state._replace(opt_state=_Recorded(state.opt_state, nothing, unknown))
    indices = (
        index
        for number in itertools.count(epoch)
        for index in epoch_order(state.key, number, size, job.batch_size)
    )
    at = set(np.linspace(0, steps - 1, PLACES).round().astype(int).tolist())
    rows, places = [], {}
    for number, index in zip(range(steps), indices, strict=False):
        row = {"step": int(state.step) + 1, "epoch": epoch + (number + 1) / per_epoch}
        if number in at:
            places[number] = measure(state)
            row |= places[number].row
        state, metrics = one_step(state, data, index)
        metrics["gradient_cosine"] = state.opt_state.cosine
        row |= {name: float(x) for name, x in jax.device_get(metrics).items()}
        rows.append(row)
        on_step(number + 1, steps)
    noise_scale = _noise_scale([*places.values()], job.batch_size)
    for number in places:
        rows[number]["noise_scale"] = noise_scale
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


class _Place(NamedTuple):
    """What is dear, measured at one point of the training."""

    row: Row
    small_square: Array  # mean |g|² of the batches
    big_square: Array  # |mean g|²


def _make_measure(job: Job, data: Batch) -> Callable[[TrainState], _Place]:
    """Return the function of a state that measures what is dear."""
    layers = kernels_in_order(*job[:3], data.inputs[:1])

    @jit
    def gradient(state: TrainState, data: Batch, number: Array) -> PyTree:
        """Of the loss, without penalty, of another batch than training will see next."""
        keys = step_keys(jax.random.fold_in(state.key, number), state.step)
        index = jax.random.randint(keys.mix, (job.batch_size,), 0, data.size)
        seen = prepared(
            data.take(index),
            keys,
            state,
            alternate=job.alternate,
            augment=job.augment,
            mix=job.mix,
        )
        batch = seen, state.batch_stats, keys.network
        return jax.grad(data_loss)(state.params, batch)

    def data_loss(params: PyTree, batch: tuple[Any, PyTree, Array]) -> Array:
        (images, labels), stats, key = batch
        logits, _ = job.apply(params, stats, images, train=True, key=key)
        return jnp.mean(job.loss(logits, labels))

    def objective(params: PyTree, batch: tuple[Any, PyTree, Array]) -> Array:
        value = data_loss(params, batch)
        return value if job.penalty is None else value + job.penalty(params)

    def measure(state: TrainState) -> _Place:
        of_data = [gradient(state, data, number) for number in jnp.arange(BATCHES)]
        gradients = of_data
        if job.penalty is not None:
            pull = jax.grad(job.penalty)(state.params)
            gradients = [jax.tree.map(jnp.add, g, pull) for g in of_data]
        mean = jax.tree.map(lambda *g: sum(g) / BATCHES, *gradients)
        some = data.inputs[:IMAGES], data.targets[:IMAGES]
        few = some, state.batch_stats, state.key
        ends = eigenpairs(
            hessian_operator(objective, state.params, batches=[few]),
            state.params,
            which="both",
            num_matvecs=MATVECS,
            key=jax.random.key(SEED),
        )
        highest, lowest = map(float, ends.values)
        row = {"curvature": highest, "lowest_curvature": lowest}
        for name, place in layers.items():
            silent = [
                jnp.all(g == 0, range(g.ndim - 1))
                for g in (jax.tree.leaves(tree)[place] for tree in of_data)
            ]
            own, weights = (
                jax.tree.leaves(x)[place] for x in (gradients[0], state.params)
            )
            row[f"gradient_norm/{name}"] = float(global_norm(own))
            row[f"parameter_norm/{name}"] = float(global_norm(weights))
            row[f"dead_fraction/{name}"] = float(
                jnp.mean(jnp.all(jnp.stack(silent), axis=0))
            )
        squares = jnp.stack([global_norm(g) for g in gradients]) ** 2
        return _Place(row, jnp.mean(squares), global_norm(mean) ** 2)

    return measure


def _noise_scale(places: list[_Place], batch_size: int) -> float:
    """Of all places together; where it is too large to be told, its lower bound."""
    found = noise_scale_from_norms(
        jnp.stack([place.small_square for place in places]),
        jnp.stack([place.big_square for place in places]),
        b_small=batch_size,
        b_big=BATCHES * batch_size,
    )
    return float(jnp.where(jnp.isinf(found.noise_scale), found.low, found.noise_scale))
