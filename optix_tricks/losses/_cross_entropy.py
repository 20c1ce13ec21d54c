"""Classification by one label, or by a distribution over the classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._checks import check_fraction
from optix_tricks._paths import Number
from optix_tricks._tree import widen
from optix_tricks.losses._labels import (
    Labels,
    Logits,
    at_label,
    check_labels,
    expectation,
)


def cross_entropy(
    logits: Logits,
    labels: Labels,
    *,
    label_smoothing: Number = 0.0,
) -> Float[Array, "*batch"]:
    """Return the cross-entropy of softmax(logits) against the labels, per example.

        loss = -Σ_k q_k log p_k,    p = softmax(logits),    q = (1 - s) y + s / K

    y is the label, one-hot if it is an integer, and K the number of classes. Computed
    in float32, or in float64 for float64 logits, and stable at any finite logits. A
    logit of -inf masks a class out where it carries no label and no smoothing. An
    integer label outside [0, K) is an error where its value is known and gives NaN where
    it is traced, never another class's loss: to leave an example out, replace its label
    by 0 and its loss by `jnp.where`.

    Helps classification of any kind; smoothing helps where labels are noisy or the net
    overfits with confidence, by about 0.2 % of top-1 and top-5 error on ImageNet (Szegedy
    et al.). Hurts, with smoothing, short runs that underfit, and a student distilled from
    the net. Cost: one pass over the logits; smoothing adds a mean.

    Beside others: mixed labels of `mixup` are smooth already: with both, tune s down.
    With `confidence_penalty` likewise.

    Args:
        logits: unnormalised log-probabilities.
        labels: integers in [0, K), or floats: a distribution over the classes, as mixed
            labels are.
        label_smoothing: s in [0, 1].

    Returns:
        One loss per example, in nats. Averaging is the caller's.

    Raises:
        ValueError: when traced, if a dtype or a shape is not one of these, a label known
            at that time is outside [0, K), or `label_smoothing` is not in [0, 1].

    Examples:
        >>> logits = jnp.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        >>> labels = jnp.array([0, 2])
        >>> print(*[f"{loss:.4f}" for loss in cross_entropy(logits, labels)])
        0.2395 2.2395
        >>> smoothed = cross_entropy(logits, labels, label_smoothing=0.3)
        >>> print(*[f"{loss:.4f}" for loss in smoothed])
        0.6395 2.0395

    Source: "Rethinking the Inception Architecture for Computer Vision", Szegedy et al.,
    2016, section 7 (label smoothing, with s = 0.1, as in most of ImageNet training).
    """
    check_fraction("label_smoothing", label_smoothing)
    check_labels(logits, labels)
    logits = widen(logits)
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    z = logits - largest  # log p = z - log_total
    log_total = jnp.log(jnp.sum(jnp.exp(z), axis=-1))
    if jnp.issubdtype(labels.dtype, jnp.integer):
        against_label = log_total - (at_label(logits, labels) - largest[..., 0])
    else:
        against_label = expectation(log_total[..., None] - z, labels)
    s = jnp.asarray(label_smoothing, logits.dtype)
    against_uniform = jnp.where(s == 0, 0, log_total - jnp.mean(z, axis=-1))
    return (1 - s) * against_label + s * against_uniform
