"""What the ImageNet recipes share: ResNet-50, random resized crops and flips."""

from typing import Any

import jax
import optax
from flax import nnx
from jaxtyping import Array, Key

from optix_tricks.augment import random_flip, random_resized_crop
from optix_tricks.recipes._classification import make_job, mixup_or_cutmix
from optix_tricks.training import Dataset, Job, ResNet50, policy


def make_resnet50_job(
    config: Any, dataset: Dataset, tx: optax.GradientTransformation
) -> Job:
    """Make the network and its augmentation; the stem is the one of ImageNet.

    Args:
      config: of one of the two recipes.
      dataset: images of one size; `image_size` is what they are cropped to in training.
      tx: the recipe's chain.
    """
    model = ResNet50(
        dataset.num_classes,
        width=config.width,
        in_channels=dataset.image_shape[-1],
        **policy(config.compute_dtype).of_network,
        rngs=nnx.Rngs(config.seed),
    )

    def augment(key: Key[Array, ""], images: Array) -> Array:
        for_crop, for_flip = jax.random.split(key)
        images = random_resized_crop(
            for_crop,
            images,
            size=config.image_size,
            scale=(config.smallest_crop, 1.0),
        )
        return random_flip(for_flip, images) if config.flip else images

    return make_job(
        config,
        dataset,
        model,
        tx,
        augment=augment,
        mix=mixup_or_cutmix(config, dataset),
        flip=config.flip,
    )
