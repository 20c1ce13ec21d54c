"""Classification by one label, or by a distribution over the classes."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer

from optix_tricks._checks import check_fraction


def cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"] | Float[Array, "*batch classes"],
    *,
    label_smoothing: ArrayLike = 0.0,
) -> Float[Array, "*batch"]:
    """Return the cross-entropy of softmax(logits) against the labels, per example.

        loss = -Σ_k q_k log p_k,    p = softmax(logits),    q = (1 - s) y + s / K

    y is the label, one-hot if it is an integer, and K the number of classes. Computed
    in float32, or in float64 for float64 logits, and stable at any finite logits. A
    logit of -inf masks a class out where it carries no label and no smoothing. An
    integer label outside [0, K) gives NaN, never another class's loss: to leave an
    example out, replace its loss by `jnp.where`.

    Smoothing helps where labels are noisy or the net overfits with confidence; it hurts
    distillation from the net. Cost: one pass over the logits; smoothing adds a mean.

    Args:
        logits: unnormalised log-probabilities.
        labels: integers in [0, K), or floats: a distribution over the classes, as mixed
            labels are.
        label_smoothing: s in [0, 1].

    Returns:
        One loss per example, in nats. Averaging is the caller's.

    Raises:
        ValueError: when traced, if a dtype or a shape is not one of these, or
            `label_smoothing` is not in [0, 1].

    Examples:
        >>> logits = jnp.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        >>> labels = jnp.array([0, 2])
        >>> print(*[f"{loss:.4f}" for loss in cross_entropy(logits, labels)])
        0.2395 2.2395
        >>> smoothed = cross_entropy(logits, labels, label_smoothing=0.3)
        >>> print(*[f"{loss:.4f}" for loss in smoothed])
        0.6395 2.0395

    Source: "Rethinking the Inception Architecture for Computer Vision", Szegedy et al.,
    2016, section 7 (label smoothing).
    """
    check_fraction("label_smoothing", label_smoothing)
    _check_shapes(logits, labels)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    z = logits - largest  # log p = z - log_total
    log_total = jnp.log(jnp.sum(jnp.exp(z), axis=-1))
    if jnp.issubdtype(labels.dtype, jnp.integer):
        outside = logits.shape[-1]
        index = jnp.where(labels < 0, outside, labels.astype(int))[..., None]
        z_label = jnp.take_along_axis(logits, index, axis=-1, mode="fill") - largest
        against_label = log_total - z_label[..., 0]
    else:
        y = labels.astype(logits.dtype)
        log_p = z - log_total[..., None]
        against_label = -jnp.sum(jnp.where(y == 0, 0, y * log_p), axis=-1)
    s = jnp.asarray(label_smoothing, logits.dtype)
    against_uniform = jnp.where(s == 0, 0, log_total - jnp.mean(z, axis=-1))
    return (1 - s) * against_label + s * against_uniform


def _check_shapes(logits: Array, labels: Array) -> None:
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(
            f"logits must be floating, got {logits.dtype}{list(logits.shape)};"
            " pass the scores before softmax."
        )
    if logits.ndim == 0:
        raise ValueError("logits must have the classes as last axis, got a scalar.")
    if jnp.issubdtype(labels.dtype, jnp.integer):
        wanted, way_out = logits.shape[:-1], "one-hot labels must be floating"
    elif jnp.issubdtype(labels.dtype, jnp.floating):
        wanted, way_out = logits.shape, "class indices must be integers"
    else:
        raise ValueError(
            "labels must be integers or floating,"
            f" got {labels.dtype}{list(labels.shape)}; convert them with astype."
        )
    if labels.shape != wanted:
        raise ValueError(
            f"labels of {labels.dtype} must have shape {list(wanted)} for logits of"
            f" shape {list(logits.shape)}, got {list(labels.shape)}; {way_out}."
        )
