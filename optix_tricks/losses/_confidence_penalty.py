"""A reward for entropy in what a classifier puts out."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._checks import check_nonnegative
from optix_tricks._paths import Number
from optix_tricks._tree import widen
from optix_tricks.losses._cross_entropy import cross_entropy
from optix_tricks.losses._labels import Labels, Logits


def confidence_penalty(
    logits: Logits,
    labels: Labels,
    *,
    beta: Number = 0.1,
    threshold: Number | None = None,
    label_smoothing: Number = 0.0,
) -> Float[Array, "*batch"]:
    """Return the cross-entropy with a penalty on confident outputs, per example.

        loss = cross_entropy - β H(p),                  p = softmax(logits)
             = cross_entropy + β max(0, Γ - H(p))       with a threshold Γ
        H(p) = -Σ_k p_k log p_k

    The first may be negative; the second is not, leaves outputs of more entropy than Γ
    alone, and with Γ = log K has the gradient of the first. With `beta=0` it is
    `cross_entropy`. β may be traced: the source also raises it during training, when
    the net must first learn. Label smoothing adds KL(u || p) for the uniform u, and this
    KL(p || u), which asks little of outputs that are far from confident.

    Helps nets that overfit with confidence, where label smoothing does; unlike it, it
    leaves the ratios among wrong classes to the data. Hurts underfitted nets and, with
    large β, the accuracy; do not add label smoothing on top without tuning both. Cost:
    one more pass over the logits.

    Beside others: it takes the place of label smoothing, as both pull to the uniform
    output, by the two directions of the divergence; with `label_smoothing` it does both.

    Args:
        logits: unnormalised log-probabilities.
        labels: integers in [0, K), or floats: a distribution over the classes.
        beta: β >= 0, a number or a scalar array.
        threshold: Γ >= 0 in nats, or None for the first form.
        label_smoothing: s in [0, 1], of the cross-entropy.

    Returns:
        One loss per example, in nats. Averaging is the caller's.

    Raises:
        ValueError: as `cross_entropy`, or if `beta` or `threshold` is negative.

    Examples:
        >>> logits = jnp.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        >>> labels = jnp.array([0, 0])
        >>> loss = confidence_penalty(logits, labels, beta=0.5)
        >>> print(*[f"{x:.4f}" for x in loss])
        -0.0932 0.5493
        >>> loss = confidence_penalty(logits, labels, beta=0.5, threshold=0.8)
        >>> print(*[f"{x:.4f}" for x in loss])
        0.3068 1.0986

    Source: "Regularizing Neural Networks by Penalizing Confident Output Distributions",
    Pereyra et al., 2017, section 3, where both numbers are tuned for each task; its hinge
    is printed with the other sign, which would reward confidence.
    """
    check_nonnegative("beta", beta)
    if threshold is not None:
        check_nonnegative("threshold", threshold)
    loss = cross_entropy(logits, labels, label_smoothing=label_smoothing)
    log_p = jax.nn.log_softmax(widen(logits))
    p = jnp.exp(log_p)
    entropy = -jnp.sum(p * jnp.where(p == 0, 0, log_p), axis=-1)
    if threshold is None:
        penalty = -entropy
    else:
        penalty = jax.nn.relu(jnp.asarray(threshold, entropy.dtype) - entropy)
    return loss + jnp.asarray(beta, loss.dtype) * penalty
