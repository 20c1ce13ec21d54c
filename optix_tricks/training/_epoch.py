"""An epoch over data that lies on the device, and an exact evaluation.

The whole data set stays on the accelerator as uint8; a step gathers its batch by index
and augments it inside the compiled program, so that nothing waits for the host. CIFAR-10
takes 154 MB.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Integer

from optix_tricks._checks import check_count
from optix_tricks._packed import unpacked
from optix_tricks._paths import Arrays, Examples
from optix_tricks._tree import PyTree, check_arrays
from optix_tricks.training._batch import Batch, weighted
from optix_tricks.training._compiling import jit
from optix_tricks.training._confusion import confusion_matrix
from optix_tricks.training._layouts import (
    Layout,
    laid_out,
    on_each,
    on_mesh,
    over_batch,
    put,
    split_batch,
)
from optix_tricks.training._metrics import Metric, default_metrics
from optix_tricks.training._picture_array import Pictures
from optix_tricks.training._state import Apply, TrainState
from optix_tricks.training._step import Metrics, Step

Series = dict[str, Float[Array, " steps"]]
Predict = Callable[[Any], Any]  # from inputs to outputs
Views = Callable[[Predict, Any], Any]  # such as `augment.flip_predict`


def make_epoch(
    step: Step,
    *,
    mode: Literal["auto", "scan", "loop"] = "auto",
    mesh: Mesh | None = None,
    layout: Layout = "replicated",
) -> Callable[..., tuple[TrainState, Series]]:
    """Build `epoch(state, data, order, *, on_step=...) -> (state, metrics)`.

    Args:
      step: from `make_train_step`, not compiled.
      mode: "scan" compiles the epoch as one program, "loop" calls one compiled step after
        the other. "auto" scans on accelerators and loops on a CPU, where XLA runs
        convolutions inside a loop about 14 times slower (jax issue 12868).
      mesh: devices that split each batch; the data lie there, and the state by `layout`.
      layout: see `state_shardings`.

    Returns:
      The epoch. `data` is a `Batch` of the whole training set on the device, `order` the
      indices from `epoch_order`; metrics come back as arrays [steps]. `on_step(i)` is
      called after step i in a loop, with at most two steps under way, and once at the end
      of a scan. A loop ends early, after the step under way, once `should_stop()` is
      true. The state is donated.
    """
    one = step if mesh is None else on_mesh(step, mesh, layout)

    def gathered(
        state: TrainState, data: Batch, index: Array
    ) -> tuple[TrainState, Metrics]:
        return one(state, data.take(index))

    one_step = jit(gathered, donate_argnums=0)

    @functools.partial(jit, donate_argnums=0)
    def scanned(
        state: TrainState, data: Batch, order: Array
    ) -> tuple[TrainState, Series]:
        state, metrics = lax.scan(lambda s, i: gathered(s, data, i), state, order)
        if mesh is None:
            return state, metrics
        # Told once more: what a loop ends with may lie otherwise than what it carries.
        return laid_out(state, mesh, layout), on_each(metrics, mesh)

    def looped(
        state: TrainState,
        data: Batch,
        order: Array | np.ndarray,
        on_step: Callable[[int], None],
        should_stop: Callable[[], bool],
    ) -> tuple[TrainState, Series]:
        def step_at(state: TrainState, i: int) -> tuple[TrainState, Metrics]:
            return one_step(state, data, order[i])

        steps = range(len(order))
        return run_steps(step_at, state, steps, on_step=on_step, should_stop=should_stop)

    def epoch(
        state: TrainState,
        data: Batch,
        order: Integer[Array | np.ndarray, "batches batch"],
        *,
        on_step: Callable[[int], None] = lambda i: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[TrainState, Series]:
        if not len(order):
            raise ValueError("order must hold at least one batch, got none.")
        scan = mode == "scan" or (mode == "auto" and jax.default_backend() != "cpu")
        if not scan:
            return looped(state, data, order, on_step, should_stop)
        state, metrics = scanned(state, data, order)
        jax.block_until_ready(metrics)
        on_step(len(order) - 1)
        return state, metrics

    return epoch


def run_steps(
    step: Callable[[TrainState, Any], tuple[TrainState, Metrics]],
    state: TrainState,
    inputs: Iterable[Any],
    *,
    on_step: Callable[[int], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[TrainState, Series]:
    """Call a compiled step on one input after the other, with at most two under way.

    Nothing is read back before the last step, which is the one after which
    `should_stop()` is true; metrics come as arrays [steps].
    """
    rows: list[Metrics] = []
    for i, each in enumerate(inputs):
        state, metrics = step(state, each)
        rows.append(metrics)
        if i > 0:
            jax.block_until_ready(rows[i - 1])
            on_step(i - 1)
        if should_stop():
            break
    jax.block_until_ready(rows[-1])
    on_step(len(rows) - 1)
    # Stacked on the host: a program with an argument a step takes seconds to compile.
    columns = jax.tree.map(lambda *xs: np.stack(xs), *jax.device_get(rows))
    return state, jax.tree.map(jnp.asarray, columns)


class Evaluation(NamedTuple):
    """Result of `make_evaluate`'s function; means are by the data's weights."""

    loss: float
    metrics: dict[str, float]
    size: int  # examples
    # Counts by class and by the class that is told, row by row, where they are asked for.
    confusion: tuple[tuple[int, ...], ...] | None = None
    each: tuple[tuple[int, float], ...] | None = None  # class told and loss, likewise


def predicted(
    apply: Apply,
    params: Arrays,
    batch_stats: Arrays,
    inputs: Examples,
    *,
    views: Views | None,
) -> PyTree:
    """Return a network's outputs in evaluation, of several views where there are any."""

    def predict(inputs: PyTree) -> PyTree:
        return apply(unpacked(params), batch_stats, inputs, train=False)[0]

    return predict(inputs) if views is None else views(predict, inputs)


def make_evaluate(
    apply: Apply,
    loss: Callable[[Any, Any], Array],
    *,
    batch_size: int,
    views: Views | None = None,
    metrics: Mapping[str, Metric] | None = None,
    confusion: bool = False,
    mesh: Mesh | None = None,
) -> Callable[[PyTree, PyTree, Batch], Evaluation]:
    """Build `evaluate(params, batch_stats, data)`, exact on uneven last batches.

    Args:
      apply: the network, run with its running statistics.
      loss: as in `make_train_step`. One that compares examples sees those of a batch
        together, and its mean depends on `batch_size`.
      batch_size: examples per call. The network gets a last batch that is filled up with
        copies of the first example, so that it is compiled for one shape; the loss does
        not.
      views: predicts from several views of each image, such as `flip_predict`.
      metrics: as in `make_train_step`.
      confusion: count which class is taken for which, see `confusion_matrix`, and tell
        what was told of each example.
      mesh: devices over which the network's work on a batch is split; losses and metrics
        see the whole batch. Data may then be NumPy arrays, of which each batch is put
        there by itself.

    Nothing is read back before the last batch.

    Raises:
      ValueError: when it is called, if there are no data.
    """
    check_count("batch_size", batch_size, minimum=1)

    # A network's batch, which the devices divide.
    filled = batch_size if mesh is None else -(-batch_size // mesh.size) * mesh.size

    @jit
    def predict(params: Arrays, batch_stats: PyTree, inputs: PyTree) -> PyTree:
        if mesh is None:
            return predicted(apply, params, batch_stats, inputs, views=views)
        inputs = split_batch(inputs, mesh)
        outputs = predicted(apply, params, batch_stats, inputs, views=views)
        return on_each(outputs, mesh)

    @jit
    def gathered(data: Batch, index: Array) -> Batch:
        batch = data.take(index)
        return batch if mesh is None else on_each(batch, mesh)

    def take(data: Batch, index: np.ndarray) -> Batch:
        some = data.inputs
        if isinstance(some, Pictures):
            batch = jax.tree.map(lambda x: x[index], data)
            if mesh is None:
                return batch._replace(inputs=np.asarray(batch.inputs))
            return batch._replace(inputs=put(batch.inputs, over_batch(mesh)))
        if mesh is None:
            return data.take(jnp.asarray(index))
        on_host = isinstance(jax.tree.leaves(data)[0], np.ndarray)
        return (
            jax.tree.map(lambda x: x[index], data) if on_host else gathered(data, index)
        )

    @functools.partial(jit, static_argnames="size")
    def count(
        outputs: PyTree, batch: Batch, *, size: int
    ) -> tuple[dict[str, tuple[Array, Array]], Array | None, tuple[Array, Array] | None]:
        outputs, batch = jax.tree.map(lambda x: x[:size], (outputs, batch))
        counted = default_metrics(outputs, batch.targets) if metrics is None else metrics
        matrix, each = None, None
        if confusion and getattr(outputs, "ndim", None) == 2:
            matrix = confusion_matrix(outputs, batch.targets, batch.weights)
            each = jnp.argmax(outputs, axis=-1), loss(outputs, batch.targets)
        means = {
            name: weighted(of(outputs, batch.targets), batch.weights)
            for name, of in {"loss": loss, **counted}.items()
        }
        return means, matrix, each

    def evaluate(params: Arrays, batch_stats: PyTree, data: Batch) -> Evaluation:
        check_arrays("params", params)
        check_arrays("batch_stats", batch_stats)
        size = data.size
        if not size:
            raise ValueError("data must hold at least one example, got none.")
        parts = []
        for start in range(0, size, batch_size):
            index = np.arange(start, start + filled)
            batch = take(data, np.where(index < size, index, 0))
            outputs = predict(params, batch_stats, batch.inputs)
            parts.append(count(outputs, batch, size=min(batch_size, size - start)))
        parts = jax.device_get(parts)
        sums, matrix = jax.tree.map(
            lambda *x: np.sum(x, axis=0, dtype=np.float64), *(part[:2] for part in parts)
        )
        means = {name: float(total / weight) for name, (total, weight) in sums.items()}
        counts, each = None, None
        if matrix is not None:
            counts = tuple(tuple(map(int, row)) for row in matrix)
            told, losses = (
                np.concatenate(x) for x in zip(*[p[2] for p in parts], strict=True)
            )
            each = tuple(zip(map(int, told), map(float, losses), strict=True))
        return Evaluation(means.pop("loss"), means, size, counts, each)

    return evaluate
