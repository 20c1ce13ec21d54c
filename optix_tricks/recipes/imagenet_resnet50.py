"""ResNet-50 on ImageNet with momentum and a cosine schedule.

Nesterov momentum, the rate 0.1 for each 256 images of a batch, five epochs of warm-up,
then a half cosine to zero; decay 1e-4 on kernels, last gammas from zero, random resized
crops and flips.

The data set must fit in memory, in images of one size: TFDS's imagenet_resized/64x64, or
your own arrays of 224 pixels. Generated images show that it runs:

    optix-tricks train imagenet_resnet50 --dataset generated --epochs 2 \
        --batch-size 64 --width 8 --image-size 64 --warmup-epochs 0
"""

import dataclasses
from typing import Literal

import optax

import optix_tricks as ot
from optix_tricks.recipes._contract import Claim, check_config
from optix_tricks.recipes._imagenet import make_resnet50_job
from optix_tricks.schedules import (
    cosine_decay_schedule,
    linear_scaling,
    warmup_schedule,
)
from optix_tricks.training import Dataset, Job, total_steps

CLAIM = Claim(
    result="not yet measured on ImageNet (the source has 76.5 % at 224 pixels); shown on "
    "generated images",
    source="Goyal et al., Accurate, large minibatch SGD, 2017; numbers of Flax's "
    "ImageNet example, 100 epochs",
    cost="not yet measured",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the ImageNet ResNet-50 recipe."""

    dataset: str = "imagenet_resized/64x64"
    """a TFDS data set of square images, a .npz of arrays, or generated"""
    data_dir: str | None = None
    """where TFDS looks; its own default if not given"""
    width: int = 64
    """channels of the first stage"""
    image_size: int = 64
    """pixels of a side that training images are cropped and resized to"""
    epochs: int = 100
    batch_size: int = 1024
    learning_rate: float = 0.1
    """at the peak, for each 256 images of a batch"""
    warmup_epochs: float = 5.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    """added to the gradients of kernels"""
    label_smoothing: float = 0.0
    smallest_crop: float = 0.08
    """share of the image's area"""
    flip: bool = True
    """mirror at random, and average the final test over mirror images"""
    mixup: float = 0.0
    """alpha; 0 for none"""
    cutmix: float = 0.0
    """alpha; 0 for none"""
    compute_dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """of activations; parameters, losses and statistics stay float32"""
    seed: int = 0


def make_optimizer(
    config: Config, steps: int, *, learning_rate: optax.Schedule | None = None
) -> optax.GradientTransformation:
    """Return the recipe's chain, with its own schedule if no other is given."""
    warmup = round(config.warmup_epochs / config.epochs * steps)
    fall = cosine_decay_schedule(config.learning_rate, max(steps - warmup, 1))
    per_256 = learning_rate or warmup_schedule(fall, warmup_steps=warmup)
    return optax.chain(
        ot.add_decayed_weights(config.weight_decay, mask=ot.no_bias_or_norm),
        ot.sgd(
            lambda step: linear_scaling(per_256(step), config.batch_size, 256),
            momentum=config.momentum,
            nesterov=True,
        ),
    )


def build(config: Config, dataset: Dataset) -> Job:
    """Make the network, the augmentation and the optimiser for a data set."""
    check_config(config, dataset)
    steps = total_steps(config.epochs, dataset.train.size, config.batch_size)
    return make_resnet50_job(config, dataset, make_optimizer(config, steps))
