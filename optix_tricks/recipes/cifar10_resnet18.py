"""ResNet-18 on CIFAR-10 with a cosine schedule.

Nesterov momentum in batches of 128, a short warm-up, then a half cosine to zero; crops,
flips, no decay on biases and norms, last gammas from zero, label smoothing.

    optix-tricks train cifar10_resnet18
    optix-tricks train cifar10_resnet18 --width 8 --epochs 3           # on a CPU
"""

import dataclasses
from typing import Literal

import optax
from flax import nnx

import optix_tricks as ot
from optix_tricks.recipes._classification import make_small_image_job
from optix_tricks.recipes._contract import Claim, check_config
from optix_tricks.schedules import cosine_decay_schedule, warmup_schedule
from optix_tricks.training import Dataset, Job, ResNet18, policy, total_steps

CLAIM = Claim(
    result="not yet measured at width 64; 69.1 % in 3 epochs at width 8, one seed",
    source="He et al., Deep residual learning, 2016; Loshchilov and Hutter, SGDR, 2017",
    cost="not yet measured at width 64; width 8: 580 s on two shared CPU cores",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the CIFAR-10 ResNet-18 recipe."""

    dataset: str = "cifar10"
    """a TFDS data set, a .npz of arrays, generated, or digits"""
    data_dir: str | None = None
    """where TFDS looks; its own default if not given"""
    width: int = 64
    """channels of the first stage"""
    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 0.1
    """at the peak"""
    warmup_fraction: float = 0.05
    """of all steps, rising from zero"""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    """added to the gradients of kernels"""
    label_smoothing: float = 0.1
    drop_path: float = 0.0
    """rate at which the last block is left out"""
    padding: int = 4
    """pixels of reflected border before the crop"""
    flip: bool = True
    """mirror at random, and average the final test over mirror images"""
    cutout: int = 8
    """side of the square that is blanked out; 0 for none"""
    mixup: float = 0.0
    """alpha; 0 for none"""
    cutmix: float = 0.0
    """alpha; 0 for none"""
    compute_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """of activations; parameters, losses and statistics stay float32"""
    seed: int = 0


def make_optimizer(
    config: Config, steps: int, *, learning_rate: optax.Schedule | None = None
) -> optax.GradientTransformation:
    """Return the recipe's chain, with its own schedule if no other is given."""
    warmup = round(config.warmup_fraction * steps)
    fall = cosine_decay_schedule(config.learning_rate, max(steps - warmup, 1))
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
    model = ResNet18(
        dataset.num_classes,
        stem="cifar",
        width=config.width,
        in_channels=dataset.image_shape[-1],
        drop_path=config.drop_path,
        **policy(config.compute_dtype).of_network,
        rngs=nnx.Rngs(config.seed),
    )
    tx = make_optimizer(config, steps)
    return make_small_image_job(config, dataset, model, tx)
