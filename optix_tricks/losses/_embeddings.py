"""What the losses of embeddings share: checks, lengths and distances."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from optix_tricks._tree import safe_divide, safe_sqrt
from optix_tricks.losses._batch_axes import sharded_as_batch

Embeddings = Float[Array, "batch features"]
BatchLabels = Integer[Array, " batch"]


def check_embeddings(embeddings: Array, *, name: str = "embeddings") -> None:
    """Raise unless `embeddings` are floating and [batch, features]."""
    if not jnp.issubdtype(embeddings.dtype, jnp.floating) or embeddings.ndim != 2:
        raise ValueError(
            f"{name} must be floating and of shape [batch, features], got"
            f" {embeddings.dtype}{list(embeddings.shape)}; reshape or cast them."
        )


def check_pair(a: Array, b: Array, *, names: tuple[str, str]) -> None:
    """Raise unless `a` and `b` are embeddings, row by row of the same pair."""
    for array, name in zip((a, b), names, strict=True):
        check_embeddings(array, name=name)
    if a.shape != b.shape:
        raise ValueError(
            f"{names[0]} and {names[1]} must have one shape, got {list(a.shape)} and"
            f" {list(b.shape)}; pass one row of each for each pair."
        )


def check_batch_labels(embeddings: Array, labels: Array) -> None:
    """Raise unless `labels` are integers, one for each of the `embeddings`."""
    wanted = embeddings.shape[:1]
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.shape != wanted:
        raise ValueError(
            f"labels must be integers of shape {list(wanted)} for embeddings of shape"
            f" {list(embeddings.shape)}, got {labels.dtype}{list(labels.shape)};"
            " pass one integer for each embedding."
        )


@sharded_as_batch
def positives_and_negatives(
    labels: BatchLabels,
) -> tuple[Bool[Array, "batch batch"], Bool[Array, "batch batch"]]:
    """For each row's example: which others have its label, which have another."""
    same = labels[:, None] == labels[None, :]
    return same & ~jnp.eye(len(labels), dtype=bool), ~same


def length(x: Float[Array, "*shape features"]) -> Float[Array, "*shape"]:
    """Euclidean length; its gradient at the zero vector, which has none, is 0."""
    return safe_sqrt(jnp.sum(jnp.square(x), axis=-1))


def normalize(x: Float[Array, "*shape features"]) -> Float[Array, "*shape features"]:
    """Scale vectors to length 1; the zero vector stays what it is."""
    return safe_divide(x, length(x)[..., None])


def dot_products(
    a: Float[Array, "rows features"], b: Float[Array, "columns features"]
) -> Float[Array, "rows columns"]:
    """Every row of `a` with every row of `b`, in full precision on accelerators too."""
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


dot_products_of_pairs = sharded_as_batch(dot_products)


@jax.jit
def squared_distances(x: Embeddings) -> Float[Array, "batch batch"]:
    """Squared distances of all pairs, for comparisons: no gradient goes through them.

    Summed over differences, which do not cancel where neighbours are far from the
    origin as |a|² + |b|² - 2ab does. XLA sums as it subtracts: [batch, batch] in memory.
    """
    x = jax.lax.stop_gradient(x)
    return jnp.sum(jnp.square(x[:, None] - x[None]), axis=-1)
