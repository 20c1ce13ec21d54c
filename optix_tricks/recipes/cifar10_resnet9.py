"""Page's ResNet-9 on CIFAR-10; a narrow one trains on two CPU cores.

Momentum SGD with Nesterov, warm-up and linear fall, coupled decay on kernels only, label
smoothing; reflect-padded crops, flips and cutout, all inside the compiled step.

    optix-tricks train cifar10_resnet9                      # 6.57 M parameters
    optix-tricks train cifar10_resnet9 --width 16           # 0.41 M parameters
"""

import dataclasses
from typing import Literal

import optax
from flax import nnx

import optix_tricks as ot
from optix_tricks.recipes._classification import make_small_image_job
from optix_tricks.recipes._contract import Claim, check_config
from optix_tricks.schedules import linear_schedule, warmup_schedule
from optix_tricks.training import Dataset, Job, ResNet9, policy, total_steps

CLAIM = Claim(
    result="89.8 % with --width 16 --batch-size 256 --cutout 0, one seed; "
    "width 64 not yet measured",
    source="Page, How to train your ResNet, 2018 (dawn.py)",
    cost="1,334 s of training on two shared CPU cores at width 16",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the CIFAR-10 ResNet-9 recipe."""

    dataset: str = "cifar10"
    """a TFDS data set, a .npz of arrays, generated, or digits"""
    data_dir: str | None = None
    """where TFDS looks; its own default if not given"""
    width: int = 64
    """channels of the first convolution; 16 for a CPU"""
    epochs: int = 10
    batch_size: int = 512
    learning_rate: float = 0.4
    """at the peak"""
    warmup_fraction: float = 0.2
    """of all steps, rising from zero"""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    """added to the gradients of kernels"""
    label_smoothing: float = 0.1
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
        **policy(config.compute_dtype).of_network,
        rngs=nnx.Rngs(config.seed),
    )
    tx = make_optimizer(config, steps)
    return make_small_image_job(config, dataset, model, tx)
