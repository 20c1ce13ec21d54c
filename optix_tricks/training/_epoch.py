"""An epoch over data that lies on the device, and an exact evaluation.

The whole data set stays on the accelerator as uint8; a step gathers its batch by index
and augments it inside the compiled program, so that nothing waits for the host. CIFAR-10
takes 154 MB.
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Integer, Key

from optix_tricks._checks import check_count
from optix_tricks._packed import unpacked
from optix_tricks._tree import PyTree, check_arrays
from optix_tricks.training._batch import Batch, weighted
from optix_tricks.training._compiling import jit
from optix_tricks.training._metrics import Metric, default_metrics
from optix_tricks.training._state import Apply, TrainState
from optix_tricks.training._step import Metrics, Step

Series = dict[str, Float[Array, " steps"]]
Predict = Callable[[Any], Any]  # from inputs to outputs
Views = Callable[[Predict, Any], Any]  # such as `augment.flip_predict`


def steps_per_epoch(size: int, batch_size: int) -> int:
    """How many full batches `size` examples make.

    Raises:
      ValueError: if not one batch is full.
    """
    check_count("batch_size", batch_size, minimum=1)
    steps = size // batch_size
    if steps == 0:
        raise ValueError(
            f"batch_size must be at most the number of training examples, {size}, "
            f"got {batch_size}."
        )
    return steps


def epoch_order(
    key: Key[Array, ""], epoch: int, size: int, batch_size: int
) -> Int[Array, "steps batch"]:
    """Indices of an epoch's batches: a fresh shuffle, an incomplete last batch dropped.

    Raises:
      ValueError: if not one batch is full.
    """
    steps = steps_per_epoch(size, batch_size)
    order = jax.random.permutation(jax.random.fold_in(key, epoch), size)
    return order[: steps * batch_size].reshape(steps, batch_size)


def total_steps(epochs: int | float, size: int, batch_size: int) -> int:
    """How many steps a run has; of a fraction of an epoch its first batches, rounded up.

    >>> total_steps(9.9, 50_000, 1024)
    476
    """
    steps = epochs * steps_per_epoch(size, batch_size)
    return math.ceil(round(steps, 9))  # 0.1 * 30 is 3, not 4


def epoch_orders(
    key: Key[Array, ""],
    epochs: int | float,
    size: int,
    batch_size: int,
    *,
    first: int = 0,
) -> Iterator[Int[Array, "steps batch"]]:
    """Yield `epoch_order` of each epoch from `first` on; the last may be cut short."""
    for epoch in range(first, math.ceil(epochs)):
        done = epoch * steps_per_epoch(size, batch_size)
        left = total_steps(epochs, size, batch_size) - done
        yield epoch_order(key, epoch, size, batch_size)[:left]


def make_epoch(
    step: Step, *, mode: str = "auto"
) -> Callable[..., tuple[TrainState, Series]]:
    """Build `epoch(state, data, order, *, on_step=...) -> (state, metrics)`.

    Args:
      step: from `make_train_step`, not compiled.
      mode: "scan" compiles the epoch as one program, "loop" calls one compiled step after
        the other. "auto" scans on accelerators and loops on a CPU, where XLA runs
        convolutions inside a loop about 14 times slower (jax issue 12868).

    Returns:
      The epoch. `data` is a `Batch` of the whole training set on the device, `order` the
      indices from `epoch_order`; metrics come back as arrays [steps]. `on_step(i)` is
      called after step i in a loop, with at most two steps under way, and once at the end
      of a scan. The state is donated.
    """
    if mode not in ("auto", "scan", "loop"):
        raise ValueError(f"mode must be 'auto', 'scan' or 'loop', got {mode!r}.")

    def gathered(
        state: TrainState, data: Batch, index: Array
    ) -> tuple[TrainState, Metrics]:
        return step(state, data.take(index))

    one_step = jit(gathered, donate_argnums=0)

    @functools.partial(jit, donate_argnums=0)
    def scanned(
        state: TrainState, data: Batch, order: Array
    ) -> tuple[TrainState, Series]:
        return lax.scan(lambda s, index: gathered(s, data, index), state, order)

    def looped(
        state: TrainState,
        data: Batch,
        order: Array,
        on_step: Callable[[int], None],
    ) -> tuple[TrainState, Series]:
        def step_at(state: TrainState, i: int) -> tuple[TrainState, Metrics]:
            return one_step(state, data, order[i])

        return run_steps(step_at, state, range(len(order)), on_step=on_step)

    def epoch(
        state: TrainState,
        data: Batch,
        order: Integer[Array, "steps batch"],
        *,
        on_step: Callable[[int], None] = lambda i: None,
    ) -> tuple[TrainState, Series]:
        if not len(order):
            raise ValueError("order must hold at least one batch, got none.")
        scan = mode == "scan" or (mode == "auto" and jax.default_backend() != "cpu")
        if not scan:
            return looped(state, data, order, on_step)
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
) -> tuple[TrainState, Series]:
    """Call a compiled step on one input after the other, with at most two under way.

    Nothing is read back before the last step; metrics come as arrays [steps].
    """
    rows: list[Metrics] = []
    for i, each in enumerate(inputs):
        state, metrics = step(state, each)
        rows.append(metrics)
        if i > 0:
            jax.block_until_ready(rows[i - 1])
            on_step(i - 1)
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


def predicted(
    apply: Apply,
    params: PyTree,
    batch_stats: PyTree,
    inputs: PyTree,
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

    Nothing is read back before the last batch.

    Raises:
      ValueError: when it is called, if there are no data.
    """
    check_count("batch_size", batch_size, minimum=1)

    @jit
    def predict(params: PyTree, batch_stats: PyTree, inputs: PyTree) -> PyTree:
        return predicted(apply, params, batch_stats, inputs, views=views)

    @functools.partial(jit, static_argnames="size")
    def count(
        outputs: PyTree, batch: Batch, *, size: int
    ) -> dict[str, tuple[Array, Array]]:
        outputs, batch = jax.tree.map(lambda x: x[:size], (outputs, batch))
        counted = default_metrics(outputs, batch.targets) if metrics is None else metrics
        return {
            name: weighted(of(outputs, batch.targets), batch.weights)
            for name, of in {"loss": loss, **counted}.items()
        }

    def evaluate(params: PyTree, batch_stats: PyTree, data: Batch) -> Evaluation:
        check_arrays("params", params)
        check_arrays("batch_stats", batch_stats)
        size = data.size
        if not size:
            raise ValueError("data must hold at least one example, got none.")
        parts = []
        for start in range(0, size, batch_size):
            index = jnp.arange(start, start + batch_size)
            batch = data.take(jnp.where(index < size, index, 0))
            outputs = predict(params, batch_stats, batch.inputs)
            parts.append(count(outputs, batch, size=min(batch_size, size - start)))
        sums = jax.tree.map(
            lambda *x: np.sum(x, dtype=np.float64), *jax.device_get(parts)
        )
        means = {name: float(total / weight) for name, (total, weight) in sums.items()}
        return Evaluation(means.pop("loss"), means, size)

    return evaluate
