"""ResNet-50 on ImageNet in large batches with LARS.

The hyperparameters of MLPerf's reference for 4,096 images a batch: rate 10, five epochs
of warm-up, then a quadratic fall; decay 2e-4, trust coefficient 0.001, label smoothing.
Biases and norms take plain momentum steps without decay.

    optix-tricks train imagenet_resnet50_lars --batch-size 2048 --learning-rate 8.5 \
        --epochs 41
    optix-tricks train imagenet_resnet50_lars --dataset generated --epochs 4 \
        --batch-size 256 --width 8 --image-size 64 --warmup-epochs 1
"""

import dataclasses
from typing import Literal

import optax

import optix_tricks as ot
from optix_tricks.recipes._contract import Claim, check_config
from optix_tricks.recipes._imagenet import make_resnet50_job
from optix_tricks.schedules import polynomial_schedule, warmup_schedule
from optix_tricks.training import Dataset, Job, total_steps

CLAIM = Claim(
    result="not yet measured on ImageNet (MLPerf's target is 75.9 % at 224 pixels); "
    "shown on generated images",
    source="You et al., Large batch training of convolutional networks, 2017; numbers "
    "of MLPerf's reference implementation",
    cost="not yet measured",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the ImageNet ResNet-50 LARS recipe."""

    dataset: str = "imagenet_resized/64x64"
    """a TFDS data set of square images, a .npz of arrays, or generated"""
    data_dir: str | None = None
    """where TFDS looks; its own default if not given"""
    width: int = 64
    """channels of the first stage"""
    image_size: int = 64
    """pixels of a side that training images are cropped and resized to"""
    epochs: int = 42
    batch_size: int = 4096
    learning_rate: float = 10.0
    """at the peak"""
    warmup_epochs: float = 5.0
    momentum: float = 0.9
    weight_decay: float = 2e-4
    """inside the trust ratio, of kernels"""
    trust_coefficient: float = 0.001
    label_smoothing: float = 0.1
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
    """Return the recipe's optimiser, with its own schedule if no other is given."""
    warmup = round(config.warmup_epochs / config.epochs * steps)
    fall = polynomial_schedule(
        config.learning_rate, 1e-4, power=2, transition_steps=max(steps - warmup, 1)
    )
    return ot.lars(
        learning_rate or warmup_schedule(fall, warmup_steps=warmup),
        weight_decay=config.weight_decay,
        trust_coefficient=config.trust_coefficient,
        momentum=config.momentum,
        mask=ot.no_bias_or_norm,
    )


def build(config: Config, dataset: Dataset) -> Job:
    """Make the network, the augmentation and the optimiser for a data set."""
    check_config(config, dataset)
    steps = total_steps(config.epochs, dataset.train.size, config.batch_size)
    return make_resnet50_job(config, dataset, make_optimizer(config, steps))
