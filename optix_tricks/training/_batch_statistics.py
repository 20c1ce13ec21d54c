"""Batch statistics for parameters that no training step has seen, such as averages."""

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optix_tricks._paths import Arrays, Examples, named_leaves
from optix_tricks._predicates import described
from optix_tricks._tree import PyTree, check_arrays, wide_dtype
from optix_tricks.training._state import Apply

LARGE = 2.0**100


class NoAverageError(ValueError):
    """Statistics that are no average of the batches'."""


def refresh_batch_statistics(
    apply: Apply, params: Arrays, batch_stats: Arrays, batches: Iterable[Examples]
) -> PyTree:
    """Return the statistics of the normalisation layers, gathered anew over batches.

        s = Σ_k n_k b_k / Σ_k n_k

    b_k are the mean and the variance over batch k, of n_k images. Exact whatever the
    layers' momentum: it is the average of all batches, not a running one. In training
    mode a layer returns m s + (1 - m) b for its momentum m and the old statistics s. Its
    value at a very large s gives m, and its value at s = 0 then b, to a relative 1e-7 or
    3e-8 / (1 - m), whichever is larger.

    The variance is the mean of those within the batches, by which the network was
    normalised in training; how the batches' means differ is not in it. What training
    leaves as it is or counts, m = 1, stays. PyTorch's `update_bn` weighs a smaller last
    batch like the others, and its variances are larger by n / (n - 1).

    Helps wherever parameters are replaced: after `swa`, `ema_of_params` or `lookahead`
    with their `averaged_params`, whose statistics belong to other weights, so that the
    average can be worse than any of the weights in it; also after training at a low
    momentum, whose statistics are those of few batches. Does little with parameters that
    were just trained. Cost: one forward pass over the batches, and three more over the
    first.

    Beside others: dropout draws in the pass, as in training. `BatchRenorm` is taken as at
    its start, where it is batch normalisation, and refused below other norms when its
    bounds are constant. Networks with `SpectralNorm` are refused: its vectors are no
    averages.

    Args:
        apply: the network; see `training.functional`. Where it draws random
            numbers, give `functools.partial(apply, key=key)`.
        params: the parameters to gather statistics for.
        batch_stats: of the same structure; the old statistics play no part.
        batches: arrays of images [batch, ...], as the network is trained on; a few
            thousand images are enough. The batch size should be that of training.

    Returns:
        A tree like `batch_stats`, averaged in float32 or wider.

    Raises:
        ValueError: if there is no batch, or statistics are integers or not of the form
            m s + (1 - m) b: behind a layer that normalises by running statistics in
            training too, as a frozen one does, or `BatchRenorm` with a constant `r_max`.

    Examples:
        >>> from flax import nnx
        >>> from optix_tricks.training import functional
        >>> class Normalised(nnx.Module):
        ...     def __init__(self):
        ...         self.norm = nnx.BatchNorm(1, momentum=0.5, rngs=nnx.Rngs(0))
        ...
        ...     def __call__(self, x, *, train):
        ...         return self.norm(x, use_running_average=not train)
        >>> apply, params, stats = functional(Normalised())
        >>> batches = [jnp.array([[1.0], [3.0]]), jnp.array([[2.0], [8.0]])]
        >>> stats = refresh_batch_statistics(apply, params, stats, batches)
        >>> print(stats["norm"]["mean"], stats["norm"]["var"])
        [3.5] [5.]

    Source: "Averaging Weights Leads to Wider Optima and Better Generalization", Izmailov,
    Podoprikhin, Garipov, Vetrov and Wilson, 2018, section 3.2, over the whole training
    set.
    """
    check_arrays("params", params)
    check_arrays("batch_stats", batch_stats)
    average = zeros = _zeros(batch_stats)
    momentum: PyTree = None
    images_so_far = 0
    for images in batches:
        if momentum is None:
            momentum = _momentum(apply, params, zeros, images)
        images_so_far += len(images)
        share = len(images) / images_so_far
        new = _train_at(zeros, apply, params, images)
        average = jax.tree.map(
            lambda a, x, m, w=share: a + w * (x / (1 - m) - a), average, new, momentum
        )
    if momentum is None:
        raise ValueError("batches must hold at least one batch of images, got none.")
    return jax.tree.map(
        lambda a, m, old: jnp.where(m == 1, old, a.astype(old.dtype)),
        average,
        momentum,
        batch_stats,
    )


def run_over(
    apply: Apply, params: Arrays, batch_stats: PyTree, batches: Iterable[Examples]
) -> PyTree:
    """Return what the statistics become in a pass over batches in training mode."""
    for inputs in batches:
        batch_stats = _train_at(batch_stats, apply, params, inputs)
    return batch_stats


@functools.partial(jax.jit, static_argnums=1)
def _train_at(old: PyTree, apply: Apply, params: Arrays, images: Array) -> PyTree:
    """The batch statistics after a batch, from the old ones."""
    made = apply(params, old, images, train=True)
    if not isinstance(made, tuple) or len(made) != 2:
        raise TypeError(
            "apply must return outputs and new batch statistics, as those that"
            f" `functional` makes, got {described(made)}."
        )
    return made[1]


def _momentum(apply: Apply, params: Arrays, zeros: PyTree, images: Array) -> PyTree:
    """Return m for each element, and see that the new statistics are m s + (1 - m) b."""

    def at(s: float) -> PyTree:
        old = jax.tree.map(lambda x: jnp.full_like(x, s), zeros)
        return _train_at(old, apply, params, images)

    # m s for a power of two is exact, and (1 - m) b is lost in its rounding.
    momentum = jax.tree.map(lambda x: x / LARGE, at(LARGE))
    names = [leaf.name for leaf in named_leaves(zeros)]
    leaves = (jax.tree.leaves(tree) for tree in (at(0.0), at(1.0), momentum))
    for name, at_zero, at_one, m in zip(names, *leaves, strict=True):
        is_affine = np.allclose(at_one, at_zero + m, rtol=1e-4, atol=1e-4, equal_nan=True)
        if not is_affine or (m > 1).any():
            raise NoAverageError(
                f"batch_stats at '{name}' must become m s + (1 - m) b in"
                " training, with a b that no statistics change: it is no average, as the"
                " vectors of SpectralNorm, or a layer before it normalises by its running"
                " statistics in training too."
            )
    return momentum


def _zeros(batch_stats: PyTree) -> PyTree:
    for name, x, _ in named_leaves(batch_stats):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise NoAverageError(
                f"batch_stats must be floating, got {x.dtype} at '{name}':"
                " keep it in a variable of another type."
            )
    return jax.tree.map(
        lambda x: jnp.zeros(x.shape, wide_dtype(x.dtype)),
        batch_stats,
    )
