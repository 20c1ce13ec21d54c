"""Regression, and classification by regression on one-hot labels."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._tree import widen
from optix_tricks.losses._labels import Labels, Logits, check_labels
from optix_tricks.losses._one_hot import one_hot


def mean_squared_error(predictions: Logits, targets: Labels) -> Float[Array, "*batch"]:
    """Return the mean over the last axis of the squared errors, per example.

        loss = 1/K Σ_k (ŷ_k - y_k)²

    y are the targets, one-hot if they are integers, and K the size of the last axis.
    Computed in float32, or in float64 for float64 predictions. It is the mean of
    `optax.squared_error`; `optax.l2_loss` has a factor 1/2 and no mean, so the gradient
    here is 2/K times the error and there the error.

    Helps regression with Gaussian errors; as a loss of classification, on the raw
    outputs, it matches cross-entropy on many tasks (Hui and Belkin). Hurts with many
    classes, where the K - 1 zeros outweigh the label: enlarge the label by the
    `on_value` of `one_hot`. On softmax outputs its gradient vanishes where the net is
    confidently wrong. Cost: one pass over the predictions.

    Beside others: its gradient is 2/K times the error, so that the learning rate of
    `cross_entropy` is too small; the sum of `optax.l2_loss` is K/2 times this.

    Args:
        predictions: floating, raw outputs.
        targets: floats of the same shape, or integers in [0, K) as class indices.

    Returns:
        One loss per example. Averaging is the caller's.

    Raises:
        ValueError: when traced, if a dtype or a shape is not one of these or a label
            known at that time is outside [0, K).

    Examples:
        >>> predictions = jnp.array([[1.0, 0.0, 0.5, 0.0]])
        >>> print(mean_squared_error(predictions, jnp.array([0])))
        [0.0625]
        >>> print(mean_squared_error(predictions, jnp.array([[1.0, 2.0, 0.5, 0.0]])))
        [1.]

    Source: "Evaluation of Neural Architectures Trained with Square Loss vs Cross-Entropy
    in Classification Tasks", Hui and Belkin, 2021.
    """
    check_labels(predictions, targets, names=("predictions", "targets"))
    predictions = widen(predictions)
    if jnp.issubdtype(targets.dtype, jnp.integer):
        targets = one_hot(targets, predictions.shape[-1], dtype=predictions.dtype)
    errors = predictions - targets.astype(predictions.dtype)
    return jnp.mean(jnp.square(errors), axis=-1)
