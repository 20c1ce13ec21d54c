"""Classification by the angle to a class's weight, with a margin."""

import math
import numbers

import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._checks import check_nonnegative, check_positive
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
)
from optix_tricks.losses._labels import as_index, check_classes

ClassWeights = Float[Array, "features classes"]


def arcface_logits(
    embeddings: Embeddings,
    class_weights: ClassWeights,
    labels: BatchLabels,
    *,
    scale: Number = 64.0,
    margin: Number = 0.5,
) -> Float[Array, "batch classes"]:
    """Return logits for `cross_entropy` with a margin in the angle to the own class.

        logits_j = s cos(θ_j)            for j ≠ y,    θ_j = angle(x, W_j)
        logits_y = s cos(θ_y + m)        where θ_y <= π - m
                 = s (cos θ_y - m sin m) beyond

    The second case is the authors' code's, not the paper's: cos(θ + m) turns at π, and
    would reward an embedding for being farther still; with it logits_y falls over all of
    [0, π], by a step at π - m. With `margin=0` it is the normalised softmax.

    Computed in float32, or in float64 if given, without arccos, whose gradient is
    infinite at ±1: cos(θ + m) = cos θ cos m - sin θ sin m, and sin θ is half the product
    of |x̂ - Ŵ| and |x̂ + Ŵ| of the unit vectors, which is precise near 0 and π too. At 0
    and π, where the angle has no gradient, it is 0. Where a traced label is outside
    [0, K), no class has the margin, and `cross_entropy` gives NaN.

    Helps embeddings that are compared by their cosine later: faces, retrieval. Hurts with
    wrong labels and at the start from random weights, where a large margin may not train;
    raise it from 0 by a schedule. Does little for the accuracy on the training classes.
    At test time compare embeddings, or take `margin=0`. Cost: a normalisation of the
    weights and a gather of one of them for each example beside the usual product.

    Beside others: put the logits into `cross_entropy`; `label_smoothing` works against
    the margin. Weight decay on the class weights changes only how fast they turn. The
    margin may be the value of a schedule that rises from 0.

    Args:
        embeddings: [batch, features], of any length.
        class_weights: [features, K], a column a class, as the kernel of a linear layer
            without bias; of any length.
        labels: [batch], integers in [0, K).
        scale: s > 0, the length on which the softmax works.
        margin: m in [0, π/2], in radians.

    Returns:
        Logits [batch, K] for `cross_entropy` with the same labels.

    Raises:
        ValueError: if shapes or dtypes are not these, a label known at that time is
            outside [0, K), `scale` is not positive or `margin` outside [0, π/2].

    Examples:
        >>> x, weights = jnp.array([[3.0, 0.0], [0.0, 1.0]]), jnp.eye(2)
        >>> print(arcface_logits(x, weights, jnp.array([0, 0]), scale=10.0).round(3))
        [[ 8.776  0.   ]
         [-4.794 10.   ]]

    Source: "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", Deng et
    al., 2019, equation 3, with its scale and margin.
    """
    check_nonnegative("margin", margin)
    if isinstance(margin, numbers.Real) and margin > math.pi / 2:
        raise ValueError(f"margin must be in [0, π/2] radians, got {margin!r}.")
    x, weights = _unit_vectors(embeddings, class_weights, labels, scale)
    own = _own(labels, weights)
    m = jnp.asarray(margin, x.dtype)
    cosine = jnp.sum(x * own, axis=1)
    sine = length(x - own) * length(x + own) / 2
    turned = cosine * jnp.cos(m) - sine * jnp.sin(m)
    beyond = cosine - m * jnp.sin(m)
    of_own = jnp.where(cosine >= -jnp.cos(m), turned, beyond)
    cosines = dot_products(x, weights)
    logits = jnp.where(_is_own(labels, len(weights)), of_own[:, None], cosines)
    return jnp.asarray(scale, x.dtype) * logits


def cosface_logits(
    embeddings: Embeddings,
    class_weights: ClassWeights,
    labels: BatchLabels,
    *,
    scale: Number = 64.0,
    margin: Number = 0.35,
) -> Float[Array, "batch classes"]:
    """Return logits for `cross_entropy` with a margin in the cosine to the own class.

        logits_j = s (cos θ_j - m 1[j = y]),    θ_j = angle(x, W_j)

    With `margin=0` it is the normalised softmax. Computed in float32, or in float64 if
    given. Where a traced label is outside [0, K), no class has the margin, and
    `cross_entropy` gives NaN.

    Helps where `arcface_logits` does, and is the simpler of the two. Hurts with wrong
    labels, and with a scale too small for the number of classes, where even a perfect
    embedding has a large loss. Does little for the accuracy on the training classes. At
    test time compare embeddings, or take `margin=0`. Cost: a normalisation of the weights
    beside the usual product.

    Beside others: put the logits into `cross_entropy`; `label_smoothing` works against
    the margin. Weight decay on the class weights changes only how fast they turn. The
    margin may be the value of a schedule that rises from 0.

    Args:
        embeddings: [batch, features], of any length.
        class_weights: [features, K], a column a class, as the kernel of a linear layer
            without bias; of any length.
        labels: [batch], integers in [0, K).
        scale: s > 0, the length on which the softmax works.
        margin: m >= 0.

    Returns:
        Logits [batch, K] for `cross_entropy` with the same labels.

    Raises:
        ValueError: if shapes or dtypes are not these, a label known at that time is
            outside [0, K), `scale` is not positive or `margin` negative.

    Examples:
        >>> x, weights = jnp.array([[3.0, 0.0], [0.0, 1.0]]), jnp.eye(2)
        >>> print(cosface_logits(x, weights, jnp.array([0, 0]), scale=10.0))
        [[ 6.5  0. ]
         [-3.5 10. ]]

    Source: "CosFace: Large Margin Cosine Loss for Deep Face Recognition", Wang et al.,
    2018, equation 4, with its scale and margin.
    """
    check_nonnegative("margin", margin)
    x, weights = _unit_vectors(embeddings, class_weights, labels, scale)
    own = _is_own(labels, len(weights))
    cosines = dot_products(x, weights)
    m = jnp.asarray(margin, x.dtype)
    return jnp.asarray(scale, x.dtype) * (cosines - jnp.where(own, m, 0))


def _unit_vectors(
    embeddings: Array, class_weights: Array, labels: Array, scale: Number
) -> tuple[Embeddings, Float[Array, "classes features"]]:
    """Check what both have in common; return embeddings and weights of length 1."""
    check_positive("scale", scale)
    check_embeddings(embeddings)
    check_batch_labels(embeddings, labels)
    floating = jnp.issubdtype(class_weights.dtype, jnp.floating)
    features = embeddings.shape[1]
    if not floating or class_weights.ndim != 2 or len(class_weights) != features:
        raise ValueError(
            f"class_weights must be floating and of shape [{features}, classes] for"
            f" embeddings of shape {list(embeddings.shape)}, got"
            f" {class_weights.dtype}{list(class_weights.shape)}; a class is a column."
        )
    check_classes(labels, class_weights.shape[1])
    return normalize(widen(embeddings)), normalize(widen(class_weights).T)


@sharded_as_batch
def _own(labels: BatchLabels, weights: Float[Array, "classes features"]) -> Embeddings:
    return jnp.take(weights, as_index(labels, len(weights)), axis=0, mode="clip")


def _is_own(labels: BatchLabels, classes: int) -> Array:
    return as_index(labels, classes)[:, None] == jnp.arange(classes)[None, :]
