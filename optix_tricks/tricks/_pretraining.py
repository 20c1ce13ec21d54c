"""What comes before the first epoch: weights that are no longer random."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

import optix_tricks as ot
from optix_tricks._packed import unpacked
from optix_tricks._tree import PyTree
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Apply,
    Batch,
    Begin,
    Step,
    TrainState,
    create_state,
    epoch_orders,
    functional,
    greedy_layerwise,
    make_epoch,
    make_train_step,
    total_steps,
)
from optix_tricks.tricks._context import Context, named_key
from optix_tricks.tricks._trick import Level, trick

OnStep = Callable[[int, int], None]


def blocks_of(model: nnx.Module) -> list[nnx.Module]:
    """Return the blocks of which a network consists: the first takes the inputs.

    Those of a `nnx.Sequential` are its layers that have weights, each with the functions
    behind it; any other module returns them from a method `blocks()`. They share the
    weights of the model.

    Raises:
      ValueError: if the model is neither, or has one block alone.
    """
    blocks: list[nnx.Module] = []
    if isinstance(model, nnx.Sequential):
        groups: list[list[Any]] = [[]]
        for layer in model.layers:
            if _has_weights(layer) and any(map(_has_weights, groups[-1])):
                groups.append([])
            groups[-1].append(layer)
        blocks += [nnx.Sequential(*group) for group in groups]
    elif callable(own := getattr(model, "blocks", None)):
        blocks += own()
    if len(blocks) < 2:
        raise ValueError(
            "layerwise_pretraining needs a network of blocks with a head behind them: a"
            " nnx.Sequential, or a module whose method blocks() returns them in order;"
            f" {type(model).__name__} has {len(blocks)}."
        )
    return blocks


def _has_weights(layer: Any) -> bool:
    is_module = isinstance(layer, nnx.Module)
    return is_module and bool(jax.tree.leaves(nnx.state(layer, nnx.Param)))


def trained(
    step: Step,
    state: TrainState,
    data: Batch,
    *,
    epochs: int | float,
    batch_size: int,
    on_step: Callable[[int], None],
) -> tuple[PyTree, PyTree]:
    """Take the steps of some epochs; return the parameters and the statistics."""
    run_epoch = make_epoch(step)
    done = 0
    orders = epoch_orders(state.key, epochs, data.size, batch_size)
    for order in orders:
        tell = functools.partial(_tell, on_step, done)
        state, _ = run_epoch(state, data, order, on_step=tell)
        done += len(order)
    return state.params, state.batch_stats


def _tell(on_step: Callable[[int], None], before: int, i: int) -> None:
    on_step(before + i + 1)


class _Head(nnx.Module):
    """A linear layer on the mean over all positions."""

    def __init__(self, features: int, classes: int, rngs: nnx.Rngs):
        self.linear = nnx.Linear(features, classes, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.linear(x.mean(axis=tuple(range(1, x.ndim - 1))))


def _pretrain(
    context: Context,
    state: TrainState,
    data: Batch,
    on_step: OnStep,
    *,
    epochs: int | float = 1,
    adam_rate: float = 1e-3,
) -> TrainState:
    """Train the blocks one by one with Adam, each below a head of its own.

    The last block's head is the network's. Cross-entropy, of the examples as they are.

    Args:
      context: of the run.
      state: whose parameters are trained.
      data: of training.
      on_step: is told the steps that are done, and all.
      epochs: of each block.
      adam_rate: the learning rate of Adam.
    """
    model = context.network.module(0)
    nnx.update(model, unpacked(state.params), state.batch_stats)
    *blocks, head = blocks_of(model)
    key = named_key(state.key, "layerwise_pretraining")
    features = _features(blocks, context, data)
    steps = total_steps(epochs, data.size, context.batch_size)

    def make_head(k: int) -> nnx.Module:
        if k == len(blocks) - 1:
            return head
        rngs = nnx.Rngs(jax.random.fold_in(key, k))
        return _Head(features[k], context.classes, rngs)

    def train_stage(
        k: int, apply: Apply, params: PyTree, batch_stats: PyTree
    ) -> tuple[PyTree, PyTree]:
        tx = ot.adam(adam_rate)
        of_stage = jax.random.fold_in(key, len(blocks) + k)
        return trained(
            make_train_step(apply, cross_entropy, tx),
            create_state(params, batch_stats, tx, of_stage),
            data,
            epochs=epochs,
            batch_size=context.batch_size,
            on_step=lambda done: on_step(k * steps + done, len(blocks) * steps),
        )

    *learnt, last = greedy_layerwise(
        blocks, make_head, train_stage, preprocess=context.prepare
    )
    for own, new in zip([*blocks, head], [*learnt[0], last], strict=True):
        nnx.update(own, nnx.state(new))
    _, params, batch_stats = functional(model)
    return state._replace(params=params, batch_stats=batch_stats)


def _features(blocks: Sequence[nnx.Module], context: Context, data: Batch) -> list[int]:
    """How many features each block puts out."""
    x = jax.eval_shape(context.prepare, data.inputs)
    found: list[int] = []
    for block in blocks:
        apply, params, batch_stats = functional(block, preprocess=_identity)
        evaluate = functools.partial(apply, train=False)
        x, _ = jax.eval_shape(evaluate, params, batch_stats, x)
        found.append(x.shape[-1])
    return found


def _identity(x: Array) -> Array:
    return x


@trick(
    "begin",
    calls=_pretrain,
    about=greedy_layerwise,
    main="epochs",
    level=Level.MODULE,
    needs=["classes"],
)
def layerwise_pretraining(context: Context, call: Any) -> Begin:
    """One block after the other is trained first, each below a head of its own."""
    blocks_of(context.network.module(0))
    return functools.partial(call, context)
