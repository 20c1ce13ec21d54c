"""Handwritten digits in half a minute: a narrow ResNet-9 on scikit-learn's images.

1,437 training and 360 test images of 8x8 pixels come with scikit-learn: nothing is
downloaded. Momentum SGD with warm-up and a linear fall, coupled decay on kernels only,
shifts by a pixel, label smoothing.

    optix-tricks train digits
"""

import dataclasses

import optax
from flax import nnx
from jaxtyping import Array, Key

import optix_tricks as ot
from optix_tricks.augment import random_crop
from optix_tricks.recipes._classification import make_job
from optix_tricks.recipes._contract import Claim, check_config
from optix_tricks.schedules import linear_schedule, warmup_schedule
from optix_tricks.training import Dataset, Job, ResNet9, total_steps

CLAIM = Claim(
    result="99.6 % of 360 test images, mean of 5 seeds (98.6 to 100)",
    source="Page, How to train your ResNet, 2018, made narrow",
    cost="8 to 12 s of training on two CPU cores",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the digits recipe."""

    dataset: str = "digits"
    """digits, generated, a TFDS data set, or a .npz of arrays"""
    data_dir: str | None = None
    """where TFDS looks; its own default if not given"""
    width: int = 16
    """channels of the first convolution"""
    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 0.3
    """at the peak"""
    warmup_fraction: float = 0.2
    """of all steps, rising from zero"""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    """added to the gradients of kernels"""
    label_smoothing: float = 0.1
    shift: int = 1
    """pixels by which training images are moved at most"""
    seed: int = 0


def make_optimizer(
    config: Config, steps: int, *, learning_rate: optax.Schedule | None = None
) -> optax.GradientTransformation:
    """Return the recipe's chain, with its own schedule if no other is given."""
    warmup = round(config.warmup_fraction * steps)
    fall = linear_schedule(config.learning_rate, 0.0, max(steps - warmup, 1))
    return optax.chain(
        ot.add_decayed_weights(config.weight_decay, mask=ot.no_bias_or_norm),
        ot.sgd(
            learning_rate or warmup_schedule(fall, warmup_steps=warmup),
            momentum=config.momentum,
            nesterov=True,
        ),
    )


def build(config: Config, dataset: Dataset) -> Job:
    """Make the network, the augmentation and the optimiser for a data set."""
    check_config(config, dataset)
    steps = total_steps(config.epochs, dataset.train.size, config.batch_size)
    model = ResNet9(
        dataset.num_classes,
        width=config.width,
        in_channels=dataset.image_shape[-1],
        rngs=nnx.Rngs(config.seed),
    )

    def augment(key: Key[Array, ""], images: Array) -> Array:
        return random_crop(key, images, padding=config.shift, mode="zero")

    return make_job(
        config,
        dataset,
        model,
        make_optimizer(config, steps),
        augment=augment,
        flip=False,
        checkpoint_every=5,
    )
