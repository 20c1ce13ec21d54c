"""All examples of one label against the rest of the batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._checks import check_positive
from optix_tricks._paths import Number
from optix_tricks._tree import widen
from optix_tricks.losses._embeddings import (
    BatchLabels,
    Embeddings,
    check_batch_labels,
    check_embeddings,
    dot_products_of_pairs,
    normalize,
    positives_and_negatives,
)


def supervised_contrastive_loss(
    embeddings: Embeddings, labels: BatchLabels, *, temperature: Number = 0.1
) -> Float[Array, " batch"]:
    """Return the supervised contrastive loss, per example.

        loss_i = -1/|P(i)| Σ_{p∈P(i)} log [exp(z_i·z_p/τ) / Σ_{a≠i} exp(z_i·z_a/τ)]

    z = x / |x|, and P(i) are the others with the label of i: L_out of the source, which
    is the better of its two. An example without a positive has loss 0. Computed in
    float32, or in float64 if given; a zero embedding has cosine 0 with all.

    With labels that number the images, each in two views, it is NT-Xent, SimCLR's loss,
    and its mean is `optax.losses.ntxent`. With more than two of a label that one compares
    a positive with the negatives only; it gives a scalar, in the dtype of its input, and
    NaN where the batch has no positives.

    Helps pretraining an encoder, on views of images or on classes, of which a linear
    classifier is trained then: 81.4 % top-1 on ImageNet for a ResNet-200, 0.8 points
    above the best reported for it till then (Khosla et al.). Hurts in small batches,
    which have few negatives. Does little at high temperature, where all weigh the same.
    Cost: one product of the batch's size squared and the features, and batch² in memory.

    Beside others: it wants strong augmentation (`random_resized_crop`, `color_jitter`),
    two views of each image in the batch, and a projection head that is thrown away.

    Args:
        embeddings: [batch, features], of any length; all views in one batch.
        labels: [batch], any integers.
        temperature: τ > 0, a number or a scalar array.

    Returns:
        One loss per example, in nats. Averaging is the caller's.

    Raises:
        ValueError: if shapes or dtypes are not these, or `temperature` is not positive.

    Examples:
        >>> x = jnp.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> def show(labels):
        ...     loss = supervised_contrastive_loss(x, labels, temperature=1.0)
        ...     print(*[f"{x:.4f}" for x in loss])
        >>> show(jnp.array([0, 0, 1, 1]))
        0.5514 0.5514 0.5514 0.5514
        >>> show(jnp.array([0, 1, 1, 2]))
        0.0000 1.5514 1.5514 0.0000

    Source: "Supervised Contrastive Learning", Khosla et al., 2020, equation 2, with a
    temperature of 0.1; "A Simple Framework for Contrastive Learning of Visual
    Representations", Chen et al., 2020 (NT-Xent).
    """
    check_positive("temperature", temperature)
    check_embeddings(embeddings)
    check_batch_labels(embeddings, labels)
    z = normalize(widen(embeddings))
    logits = dot_products_of_pairs(z, z) / jnp.asarray(temperature, z.dtype)
    itself = jnp.eye(len(z), dtype=bool)
    log_p = jax.nn.log_softmax(jnp.where(itself, -jnp.inf, logits), axis=1)
    positive, _ = positives_and_negatives(labels)
    count = jnp.maximum(jnp.sum(positive, axis=1, dtype=z.dtype), 1)
    return jnp.sum(jnp.where(positive, -log_p, 0), axis=1) / count
