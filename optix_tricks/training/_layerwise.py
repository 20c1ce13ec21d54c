"""Supervised pretraining of a deep network, one block after the other."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree, check_arrays
from optix_tricks.training._state import Apply, functional

_Network = tuple[Apply, PyTree, PyTree]  # of `functional`
TrainStage = Callable[[int, Apply, PyTree, PyTree], tuple[PyTree, PyTree]]


def greedy_layerwise(
    blocks: Sequence[nnx.Module],
    make_head: Callable[[int], nnx.Module],
    train_stage: TrainStage,
    *,
    preprocess: Callable[[Array], Array] = lambda images: images.astype(jnp.float32),
) -> tuple[list[nnx.Module], nnx.Module]:
    """Train the blocks of a network one by one, each below a head of its own.

        stage k:  min over θ_k, η_k of  mean loss(head(block(h_k; θ_k); η_k), labels)
                  h_k = block_{k-1}( ... block_0(images))    with the weights they got

    In stage k the blocks below are frozen: they run as in evaluation, with their running
    statistics, and nothing is differentiated through them. The head is thrown away but
    for the last. Then train the whole network, blocks and head, from where they stand.

    Helps deep nets that do not train from their initial weights: saturating units, no
    normalisation, no shortcuts; each stage is as shallow as a net of one hidden layer. A
    toy of four sigmoid layers trains with it and stays at chance without. Does little
    where good initial weights, batch normalisation or residual blocks let all layers
    train at once. Hurts where the first block cannot do the task alone: what its head has
    no use for is lost to the blocks above, and Bengio et al. found this supervised form
    worse than their unsupervised one. Cost: the sum of the stages; in each one pass
    forward through the blocks below, and none backward.

    Beside others: take a lower rate for the whole than for the stages. A linear layer is
    enough of a head. Batch statistics of frozen blocks stay as their stage left them.

    Args:
        blocks: modules called as `block(x, train=...)` or `block(x)`, the first on the
            images.
        make_head: `make_head(k)`, a module called likewise on the output of block k; it
            returns the logits.
        train_stage: `train_stage(k, apply, params, batch_stats)` trains the network
            `apply` in any way and returns its new `(params, batch_stats)`. `params` are
            those of block and head alone; the frozen weights are in `batch_stats`, which
            training carries along.
        preprocess: applied to the images first; see `training.functional`.

    Returns:
        New blocks with what was learnt, and the last head. What was given is unchanged.

    Raises:
        ValueError: if there are no blocks, or `train_stage` returns other trees.

    Examples:
        >>> import optax
        >>> from optix_tricks.losses import cross_entropy
        >>> from optix_tricks.training import create_state
        >>> from optix_tricks.training import Batch, compile_step, make_train_step
        >>> class Dense(nnx.Module):
        ...     def __init__(self, n, m, activation=jnp.tanh):
        ...         self.linear = nnx.Linear(n, m, rngs=nnx.Rngs(0))
        ...         self.activation = activation
        ...
        ...     def __call__(self, x, *, train):
        ...         return self.activation(self.linear(x))
        >>> batch = Batch(jnp.eye(2), jnp.arange(2))
        >>> def train_stage(k, apply, params, batch_stats):
        ...     tx = optax.sgd(0.5)
        ...     step = compile_step(make_train_step(apply, cross_entropy, tx))
        ...     state = create_state(params, batch_stats, tx, jax.random.key(k))
        ...     for _ in range(10):
        ...         state, metrics = step(state, batch)
        ...     return state.params, state.batch_stats
        >>> def make_head(k):
        ...     return Dense(4, 2, activation=jnp.asarray)
        >>> blocks = [Dense(2, 4), Dense(4, 4)]
        >>> blocks, head = greedy_layerwise(blocks, make_head, train_stage)

    Source: "Greedy Layer-Wise Training of Deep Networks", Bengio, Lamblin, Popovici and
    Larochelle, 2007, section 4; "Deep Learning", Goodfellow, Bengio and Courville,
    2016, section 8.7.4.
    """
    if not blocks:
        raise ValueError("blocks must hold at least one module, got none.")
    trained: list[nnx.Module] = []
    below: list[_Network] = []
    for k, block in enumerate(blocks):
        module, head = nnx.clone(block), nnx.clone(make_head(k))
        split = functional(module, preprocess=_identity if below else preprocess)
        apply, params, batch_stats = _stage(
            below, split, functional(head, preprocess=_identity)
        )
        for name, net in (("blocks", module), ("make_head's", head)):
            check_arrays(name, nnx.to_pure_dict(nnx.state(net)))
        # Copies: a training step may donate what it is given.
        copies = jax.tree.map(jnp.copy, (params, batch_stats))
        result = train_stage(k, apply, *copies)
        _check_same_structure(result, copies)
        for part, name in ((module, "block"), (head, "head")):
            for tree in result:
                nnx.update(part, tree[name])
        below.append((split[0], result[0]["block"], result[1]["block"]))
        trained.append(module)
    return trained, head


def _identity(x: Array) -> Array:
    return x


def _stage(below: list[_Network], block: _Network, head: _Network) -> _Network:
    """The network of one stage; its frozen parameters are among the batch statistics."""
    frozen = [apply for apply, _, _ in below]
    block_apply, block_params, block_stats = block
    head_apply, head_params, head_stats = head

    def apply(
        params: Arrays,
        batch_stats: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Array | None = None,
    ) -> tuple[PyTree, PyTree]:
        x = inputs
        for evaluate, (weights, stats) in zip(frozen, batch_stats["below"], strict=True):
            x, _ = evaluate(weights, stats, x, train=False)
        keys = (None, None) if key is None else jax.random.split(key)
        x, block_stats = block_apply(
            params["block"], batch_stats["block"], x, train=train, key=keys[0]
        )
        logits, head_stats = head_apply(
            params["head"], batch_stats["head"], x, train=train, key=keys[1]
        )
        return logits, batch_stats | {"block": block_stats, "head": head_stats}

    params = {"block": block_params, "head": head_params}
    arrays_below = [(weights, stats) for _, weights, stats in below]
    stats = {"below": arrays_below, "block": block_stats, "head": head_stats}
    return apply, params, stats


def _check_same_structure(result: Any, given: Any) -> None:
    got: Any = jax.tree.structure(result)
    if got != jax.tree.structure(given):
        raise ValueError(
            "train_stage must return (params, batch_stats), trees like those that it was"
            f" given, got {got}."
        )
