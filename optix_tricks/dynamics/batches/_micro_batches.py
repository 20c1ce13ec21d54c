"""Gradients of the micro-batches of a batch, as inner products with their mean."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_loss
from optix_tricks._paths import Arrays, named_leaves
from optix_tricks._tree import PyTree, check_floating, widen


class GradientProducts(NamedTuple):
    """Inner products of the gradients g_i of micro-batches with their mean ḡ."""

    square: Float[Array, "micro ..."]  # |g_i|²
    along: Float[Array, "micro ..."]  # g_i·ḡ
    spread: Float[Array, "micro ..."]  # |g_i - ḡ|²


def gradient_products(
    loss: Callable[[PyTree, PyTree], Array],
    params: Arrays,
    batch: PyTree,
    micro_batch_size: int,
    chunk_size: int | None,
) -> tuple[list[str], GradientProducts]:
    """Return the names of the layers and the products [micro-batches, layers]."""
    check_floating(params)
    params = jax.tree.map(lambda w: widen(jnp.asarray(w)), params)
    chunks = _split(batch, micro_batch_size, chunk_size)
    paths = [leaf.name for leaf in named_leaves(params)]

    def one_loss(params: Arrays, micro: PyTree) -> Array:
        return check_loss(loss(params, micro))

    def mean_loss(params: Arrays, micros: PyTree) -> Array:
        return jnp.mean(jax.vmap(one_loss, (None, 0))(params, micros))

    def add(total: PyTree, micros: PyTree) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, total, jax.grad(mean_loss)(params, micros)), None

    def products(micro: PyTree) -> GradientProducts:
        gradients = jax.tree.leaves(jax.grad(one_loss)(params, micro))
        pairs = list(zip(gradients, means, strict=True))
        return GradientProducts(
            jnp.stack([jnp.sum(g * g) for g in gradients]),
            jnp.stack([jnp.sum(g * mean) for g, mean in pairs]),
            jnp.stack([jnp.sum((g - mean) ** 2) for g, mean in pairs]),
        )

    total, _ = _scan(add, jax.tree.map(jnp.zeros_like, params), chunks)
    n = len(jax.tree.leaves(chunks)[0])
    means = [x / n for x in jax.tree.leaves(total)]
    _, rows = _scan(lambda _, micros: (_, jax.vmap(products)(micros)), (), chunks)
    return paths, jax.tree.map(lambda x: x.reshape(-1, len(paths)), rows)


def _scan(step: Callable, carry: Any, xs: PyTree) -> tuple[Any, PyTree]:
    """`lax.scan`, but no loop of one step: CPUs run convolutions in loops slowly."""
    if len(jax.tree.leaves(xs)[0]) > 1:
        return lax.scan(step, carry, xs)
    carry, row = step(carry, jax.tree.map(lambda x: x[0], xs))
    return carry, jax.tree.map(lambda x: x[None], row)


def _split(batch: PyTree, micro: int, chunk: int | None) -> PyTree:
    """Give every array the leading axes [chunks, chunk, micro]."""
    check_count("micro_batch_size", micro, minimum=1)
    sizes = {jnp.shape(x)[:1] for x in jax.tree.leaves(batch)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(
            "batch must hold arrays with one number of examples along their first axis, "
            f"got {sorted(sizes)}."
        )
    (size,) = sizes.pop()
    if size % micro or size < 3 * micro:
        raise ValueError(
            "micro_batch_size must divide the batch into at least 3 equal parts, got "
            f"{micro} for {size} examples: take a larger batch or smaller parts."
        )
    number = size // micro
    chunk = number if chunk is None else chunk
    check_count("chunk_size", chunk, minimum=1)
    if number % chunk:
        raise ValueError(
            f"chunk_size must divide the number of micro-batches, {number}, got {chunk}."
        )
    return jax.tree.map(
        lambda x: jnp.reshape(x, (number // chunk, chunk, micro, *jnp.shape(x)[1:])),
        batch,
    )
