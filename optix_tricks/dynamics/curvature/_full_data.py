"""Gradients and other means over batches."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from optix_tricks._checks import check_loss
from optix_tricks._paths import Arrays
from optix_tricks._predicates import described
from optix_tricks._tree import PyTree
from optix_tricks.transforms._full_batch import cast, common_dtype


def mean_over_batches(
    function: Callable[..., PyTree], batches: Iterable[PyTree] | None
) -> Any:
    """Average `function(batch)`, weighted by examples; without any, `function()`."""
    if batches is None:
        return function()
    total, examples = None, 0
    for batch in batches:
        size = _examples(batch)
        part = jax.tree.map(lambda x, size=size: size * x, function(batch))
        total = part if total is None else jax.tree.map(lambda t, p: t + p, total, part)
        examples += size
    return jax.tree.map(lambda x: x / examples, total)


def _examples(batch: PyTree) -> int:
    leaves = jax.tree.leaves(batch)
    if not leaves or np.ndim(leaves[0]) == 0:
        raise ValueError(
            f"batches must hold trees of arrays [batch, ...], got {described(batch)}."
        )
    return len(leaves[0])


def full_gradient(
    loss: Callable[..., Array], params: Arrays, batches: Iterable[PyTree] | None
) -> PyTree:
    """The gradient over all batches, in float32 or wider."""
    wide = cast(params, common_dtype(params))
    return mean_over_batches(partial(_gradient, loss, wide), batches)


@partial(jax.jit, static_argnums=0)
def _gradient(loss: Callable[..., Array], w: PyTree, *batch: Any) -> PyTree:
    with jax.default_matmul_precision("highest"):
        return jax.grad(lambda w: check_loss(loss(w, *batch)))(w)
