"""Triplets mined in the batch: the same nearer to an anchor than the different."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from optix_tricks._checks import check_nonnegative
from optix_tricks._paths import Number
from optix_tricks._tree import widen
from optix_tricks.losses._batch_axes import sharded_as_batch
from optix_tricks.losses._embeddings import (
    BatchLabels,
    Embeddings,
    check_batch_labels,
    check_embeddings,
    dot_products,
    length,
    normalize,
    positives_and_negatives,
    squared_distances,
)

Pairs = Bool[Array, "batch batch"]


def triplet_loss(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    margin: Number | str,
    mining: Literal["batch_hard", "semi_hard"] = "batch_hard",
) -> Float[Array, " batch"]:
    """Return the triplet loss with every example as the anchor, per anchor.

        batch_hard:  loss_a = [m + max_p |x_a - x_p| - min_n |x_a - x_n|]₊
        semi_hard:   loss_a = mean_p [m + |z_a - z_p|² - |z_a - z_n(p)|²]₊,    z = x / |x|
                     n(p) = argmin |z_a - z_n|²    over |z_a - z_n| > |z_a - z_p|
                     or argmax |z_a - z_n|²        if no n is farther than p

    p has the anchor's label and is another example, n has another label. `margin="soft"`
    takes log(1 + exp(.)) without a margin in place of [m + .]₊. Distances are those of
    the sources: of embeddings as they are for the first, and squared on the unit sphere
    for the second. Its rule for anchors without a farther negative is that of
    TensorFlow's `triplet_semihard_loss`. An anchor without a positive or without a
    negative has loss 0; so draw a few examples of each of a few classes for a batch.

    Computed in float32, or in float64 if given. Gradients go to the triplets chosen and
    are 0 for a distance of 0. Triplets given one by one have their loss in
    `optax.losses.triplet_margin_loss`, in the dtype of its inputs and with 1e-6 under the
    root; keep its norm of degree 2, as for others it takes powers of signed differences.

    Helps retrieval and verification with many classes of few examples. Hurts with wrong
    labels, which are the hardest triplets; `batch_hard` can collapse at the start to
    distances of 0, where `semi_hard` is the gentler. Does little once most triplets have
    the margin; the soft one never ends. Cost: one product of the batch's size squared and
    the features, and batch² in memory; gradients that touch two rows an anchor with
    `batch_hard`, a sort of each row and one more product with `semi_hard`.

    Beside others: normalise the embeddings yourself for batch hard on the sphere; the
    margin must then be below 2.

    Args:
        embeddings: [batch, features].
        labels: [batch], any integers.
        margin: m >= 0, in units of the distances, or "soft".
        mining: "batch_hard" or "semi_hard".

    Returns:
        One loss per anchor. Averaging is the caller's.

    Raises:
        ValueError: if shapes or dtypes are not these, `margin` is negative or another
            string, or `mining` is neither of the two.

    Examples:
        >>> x = jnp.array([[0.0], [1.0], [3.0], [3.5]])
        >>> labels = jnp.array([0, 0, 0, 1])
        >>> print(triplet_loss(x, labels, margin=1.0))  # 1 + 3 - 3.5, ...
        [0.5 0.5 3.5 0. ]

    Source: "In Defense of the Triplet Loss for Person Re-Identification", Hermans, Beyer
    and Leibe, 2017 (batch hard, soft margin); "FaceNet: A Unified Embedding for Face
    Recognition and Clustering", Schroff, Kalenichenko and Philbin, 2015 (semi-hard, with
    a margin of 0.2).
    """
    if not isinstance(margin, str):
        check_nonnegative("margin", margin)
    elif margin != "soft":
        raise ValueError(f'margin must be a number or "soft", got {margin!r}.')
    check_embeddings(embeddings)
    check_batch_labels(embeddings, labels)
    x = widen(embeddings)
    positive, negative = positives_and_negatives(labels)
    if mining == "batch_hard":
        loss = _hinge(_batch_hard_gap(x, positive, negative), margin)
    else:
        losses = _hinge(_semi_hard_gaps(normalize(x), negative), margin)
        count = jnp.maximum(jnp.sum(positive, axis=1, dtype=losses.dtype), 1)
        loss = jnp.sum(jnp.where(positive, losses, 0), axis=1) / count
    has_both = jnp.any(positive, axis=1) & jnp.any(negative, axis=1)
    return jnp.where(has_both, loss, 0)


def _hinge(gap: Array, margin: Number | str) -> Array:
    if isinstance(margin, str):
        return jax.nn.softplus(gap)
    return jax.nn.relu(gap + jnp.asarray(margin, gap.dtype))


@sharded_as_batch
def _batch_hard_gap(
    x: Embeddings, positive: Pairs, negative: Pairs
) -> Float[Array, " batch"]:
    """Distance of the farthest positive less that of the nearest negative."""
    distances = squared_distances(x)
    farthest = jnp.argmax(jnp.where(positive, distances, -1), axis=1)
    nearest = jnp.argmin(jnp.where(negative, distances, jnp.inf), axis=1)
    return length(x - x[farthest]) - length(x - x[nearest])


@sharded_as_batch
def _semi_hard_gaps(z: Embeddings, negative: Pairs) -> Float[Array, "batch batch"]:
    """Squared distance [a, p] less that of a from the negative for p.

    Which one that is, its place in a's negatives sorted by distance tells. On the
    sphere the gap itself may be taken from products: they err by 1e-7, it is up to 4.
    """
    distances = squared_distances(z)
    of_negatives = jnp.where(negative, distances, jnp.inf)
    order = jnp.argsort(of_negatives, axis=1)
    sorted_ = jnp.take_along_axis(of_negatives, order, axis=1)
    first_farther = jax.vmap(lambda row, d: jnp.searchsorted(row, d, side="right"))
    last = jnp.sum(negative, axis=1, keepdims=True) - 1
    place = jnp.maximum(jnp.minimum(first_farther(sorted_, distances), last), 0)
    chosen = jnp.take_along_axis(order, place, axis=1)
    squares = jnp.sum(jnp.square(z), axis=1)
    without_anchor = squares[None, :] - 2 * dot_products(z, z)  # |z_a|² is in both
    return without_anchor - jnp.take_along_axis(without_anchor, chosen, axis=1)
