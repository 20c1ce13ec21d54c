"""Pairs of embeddings: the same drawn together, the different pushed apart."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from optix_tricks._checks import check_positive
from optix_tricks._paths import Number
from optix_tricks._tree import widen
from optix_tricks.losses._embeddings import Embeddings, check_pair, length


def contrastive_loss(
    a: Embeddings,
    b: Embeddings,
    same: Bool[Array, " batch"],
    *,
    margin: Number = 1.0,
) -> Float[Array, " batch"]:
    """Return the contrastive loss of pairs of embeddings, per pair.

        loss = d² / 2              where a and b are the same
             = max(0, m - d)² / 2  where they are not,    d = |a - b|

    `same` is 1 - Y of the source. Computed in float32, or in float64 if given. A pair of
    equal embeddings has no direction in which to part: its gradient is 0, not NaN.

    For all pairs of a labelled batch take them from its upper triangle, as in the
    example; most of them are different pairs then, so weigh or draw them.

    Helps verification and retrieval, where what is given is which pairs belong together.
    Hurts where a class should keep its own spread, as same pairs are drawn to distance 0.
    Does little for different pairs beyond the margin, which have no gradient: random
    pairs teach little late in training. Cost: one pass over the embeddings; all pairs of
    a batch B are B (B - 1) / 2 rows, so gather them for small batches only.

    Beside others: `triplet_loss` compares distances and needs no absolute scale;
    `supervised_contrastive_loss` takes all pairs at once, without a margin.

    Args:
        a: [batch, features], the first of each pair.
        b: [batch, features], the second of each pair.
        same: [batch], boolean: whether the pair belongs together.
        margin: m > 0, in units of the embeddings: the distance that is far enough.

    Returns:
        One loss per pair. Averaging is the caller's.

    Raises:
        ValueError: if `a` and `b` are not floating arrays [batch, features] of one shape,
            `same` is not boolean with one entry a pair, or `margin` is not positive.

    Examples:
        >>> x = jnp.array([[0.0, 0.0], [0.6, 0.8], [0.3, 0.4]])
        >>> labels = jnp.array([0, 0, 1])
        >>> i, j = jnp.triu_indices(3, k=1)  # (0, 1), (0, 2), (1, 2)
        >>> print(contrastive_loss(x[i], x[j], labels[i] == labels[j]))
        [0.5   0.125 0.125]

    Source: "Dimensionality Reduction by Learning an Invariant Mapping", Hadsell, Chopra
    and LeCun, 2006, equation 4; it leaves the margin open, which is a choice of unit.
    """
    check_positive("margin", margin)
    check_pair(a, b, names=("a", "b"))
    if same.dtype != jnp.bool_ or same.shape != a.shape[:1]:
        raise ValueError(
            f"same must be boolean of shape {list(a.shape[:1])}, got"
            f" {same.dtype}{list(same.shape)}; compare the labels of a with those of b."
        )
    distance = length(widen(a) - widen(b))
    missing = jax.nn.relu(jnp.asarray(margin, distance.dtype) - distance)
    return jnp.square(jnp.where(same, distance, missing)) / 2
