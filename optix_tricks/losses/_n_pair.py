"""One positive against those of all other pairs."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._checks import check_nonnegative
from optix_tricks._paths import Number
from optix_tricks._tree import widen
from optix_tricks.losses._cross_entropy import cross_entropy
from optix_tricks.losses._embeddings import Embeddings, check_pair, dot_products_of_pairs


def n_pair_loss(
    anchors: Embeddings, positives: Embeddings, *, l2_weight: Number = 0.0
) -> Float[Array, " batch"]:
    """Return the multi-class N-pair loss, per pair.

        loss_i = log(1 + Σ_{j≠i} exp(x_i·y_j - x_i·y_i)) + λ/4 (|x_i|² + |y_i|²)

    x are the anchors and y the positives; the positives of the other pairs are the
    negatives of this one, so the N pairs must come from N classes. Products are of
    embeddings as they are: the source does not normalise them, and keeps them short by
    the L2 term, whose factor here is that of TensorFlow's `npairs_loss`. Computed in
    float32, or in float64 if given; a single pair has no negatives and loss 0.

    Helps against triplets, as each anchor meets N - 1 negatives at the cost of 2 N
    embeddings. Hurts where two pairs are of one class, which it pushes apart; without the
    L2 term long embeddings lower the loss without an end. Cost: one product of the
    batch's size squared and the features, and batch² in memory.

    Beside others: it is `cross_entropy` of products; with normalised embeddings and a
    temperature take `supervised_contrastive_loss`.

    Args:
        anchors: [batch, features].
        positives: [batch, features], row by row of the anchor's class.
        l2_weight: λ >= 0, a number or a scalar array; 0.002 is TensorFlow's.

    Returns:
        One loss per pair, in nats. Averaging is the caller's.

    Raises:
        ValueError: if `anchors` and `positives` are not floating arrays [batch, features]
            of one shape, or `l2_weight` is negative.

    Examples:
        >>> anchors = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> print(*[f"{loss:.4f}" for loss in n_pair_loss(anchors, 3 * anchors)])
        0.0486 0.0486

    Source: "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", Sohn,
    2016.
    """
    check_nonnegative("l2_weight", l2_weight)
    check_pair(anchors, positives, names=("anchors", "positives"))
    x, y = widen(anchors), widen(positives)
    against_others = cross_entropy(dot_products_of_pairs(x, y), jnp.arange(len(x)))
    squares = jnp.sum(jnp.square(x) + jnp.square(y), axis=-1)
    return against_others + jnp.asarray(l2_weight, squares.dtype) / 4 * squares
