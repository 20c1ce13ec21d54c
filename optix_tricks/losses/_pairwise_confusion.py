"""Outputs of different classes drawn together, in pairs."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from optix_tricks._checks import check_nonnegative
from optix_tricks._paths import Number
from optix_tricks._tree import widen
from optix_tricks.losses._batch_axes import sharded_as_batch
from optix_tricks.losses._cross_entropy import cross_entropy
from optix_tricks.losses._labels import Labels, Logits


def pairwise_confusion(
    logits: Float[Array, "batch classes"],
    labels: Integer[Array, " batch"] | Float[Array, "batch classes"],
    *,
    weight: Number,
    label_smoothing: Number = 0.0,
) -> Float[Array, " batch"]:
    """Return the cross-entropy with the confusion of pairs of a batch, per example.

        loss_i = cross_entropy_i + λ/2 γ_ij |p_i - p_j|²,    p = softmax(logits)

    j is the partner of i, half a batch away, and γ_ij is 1 where their labels differ and
    0 elsewhere. Each partner bears half of the pair's term, so the sum over the pair is
    the source's. With `weight=0` it is `cross_entropy`. The authors' code has |p_i - p_j|
    in place of the square, whose gradient is undefined for equal outputs, and no γ.

    The source has one class an image. For mixed labels y γ_ij is the share of them that
    differs, which is 0 or 1 where each is one class, and small where they are nearly
    equal:

        γ_ij = ½ Σ_k |y_ik - y_jk|

    Smoothing is of the cross-entropy alone, as it is the same for all labels.

    Helps fine-grained classification of few images a class, where classes look alike and
    the net overfits to what tells two examples apart. Does little where classes are few
    and distinct. Hurts where λ outweighs the cross-entropy, as all outputs are then one.
    The batch must be shuffled, as pairs of one class have no term. Cost: one softmax.

    Beside others: the term is bounded by 2 λ, so that it weighs least where the
    cross-entropy is large. It shares its aim with `confidence_penalty` and label
    smoothing. After `mixup` or `cutmix` pairs of nearly equal mixtures have nearly no
    term.

    Args:
        logits: unnormalised log-probabilities; the batch must be even.
        labels: integers in [0, K), or floats: a distribution over the classes.
        weight: λ >= 0, a number or a scalar array; to be tuned for each task.
        label_smoothing: s in [0, 1].

    Returns:
        One loss per example. Averaging is the caller's.

    Raises:
        ValueError: as `cross_entropy`, or if `logits` are not [batch, classes] with an
            even batch, or `weight` is negative.

    Examples:
        >>> logits = jnp.array([[50.0, 0.0], [0.0, 50.0], [0.0, 50.0], [0.0, 50.0]])
        >>> print(pairwise_confusion(logits, jnp.array([0, 1, 1, 1]), weight=0.1))
        [0.1 0.  0.1 0. ]

    Source: "Pairwise Confusion for Fine-Grained Visual Classification", Dubey et al.,
    2018.
    """
    check_nonnegative("weight", weight)
    if logits.ndim != 2 or logits.shape[0] % 2:
        raise ValueError(
            "logits must be [batch, classes] with an even batch, got shape"
            f" {list(logits.shape)}; leave an example out to pair the others."
        )
    loss = cross_entropy(logits, labels, label_smoothing=label_smoothing)
    confusion = _confusion(jax.nn.softmax(widen(logits)), labels)
    return loss + jnp.asarray(weight, loss.dtype) / 2 * confusion


@sharded_as_batch
def _confusion(p: Logits, labels: Labels) -> Float[Array, " batch"]:
    """Return γ_ij |p_i - p_j|² for every i and its partner j."""
    half = len(p) // 2
    distance = jnp.sum(jnp.square(p[:half] - p[half:]), axis=-1)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        gamma = (labels[:half] != labels[half:]).astype(p.dtype)
    else:
        y = labels.astype(p.dtype)
        gamma = jnp.sum(jnp.abs(y[:half] - y[half:]), axis=-1) / 2
    return jnp.tile(gamma * distance, 2)
