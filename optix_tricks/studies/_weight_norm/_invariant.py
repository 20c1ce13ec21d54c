"""Which layers of a job's network are scale-invariant, and what their gradients are."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._paths import named_leaves
from optix_tricks._tree import PyTree
from optix_tricks.dynamics import scale_invariance
from optix_tricks.training import Dataset, Job


class InvariantLayers(NamedTuple):
    """Leaves whose length the loss does not depend on."""

    mask: PyTree  # of bools, shaped like the parameters
    names: tuple[str, ...]


def invariant_layers(job: Job, dataset: Dataset) -> InvariantLayers:
    """Test each leaf by scaling it, on 64 images in training mode."""
    found = scale_invariance(
        training_loss(job, dataset, size=64), job.params, key=jax.random.key(job.seed)
    )
    mask = jax.tree.map(bool, found.invariant)
    return InvariantLayers(mask, tuple(x.name for x in named_leaves(mask) if x.value))


def training_loss(job: Job, dataset: Dataset, *, size: int) -> Callable[[PyTree], Array]:
    """Return the loss of the first images as a function of the parameters.

    Batch statistics are those of the images; nothing is augmented.
    """
    images = jnp.asarray(dataset.train.inputs[:size])
    labels = jnp.asarray(dataset.train.targets[:size])
    key = jax.random.key(job.seed)

    def loss(params: PyTree) -> Array:
        logits, _ = job.apply(params, job.batch_stats, images, train=True, key=key)
        return jnp.mean(job.loss(logits, labels))

    return loss
