"""ResNet-18 on CIFAR-100 with the step schedules of the literature.

Nesterov momentum in batches of 128, one epoch of warm-up, and the rate divided by 5 at
30, 60 and 80 % of the run (epochs 60, 120, 160 of 200) or by 10 at 50 and 75 % (epochs
150, 225 of 300). No decay on biases and norms, last gammas from zero, label smoothing.

    optix-tricks train cifar100_resnet18                               # 200 epochs
    optix-tricks train cifar100_resnet18 --schedule 300 --epochs 300
    optix-tricks train cifar100_resnet18 --dataset cifar10 --width 8 --epochs 3
"""

import dataclasses
from typing import Literal

import optax
from flax import nnx

import optix_tricks as ot
from optix_tricks.recipes._classification import make_small_image_job
from optix_tricks.recipes._contract import Claim, check_config
from optix_tricks.schedules import piecewise_values_schedule, warmup_schedule
from optix_tricks.training import Dataset, Job, ResNet18, policy, total_steps

CLAIM = Claim(
    result="not yet measured on CIFAR-100; 63.9 % on CIFAR-10 in 3 epochs at width "
    "8, one seed",
    source="He et al., Deep residual learning, 2016; schedules: Zagoruyko and "
    "Komodakis, 2016 (200), Huang et al., 2017 (300)",
    cost="not yet measured at width 64; width 8: minutes on two CPU cores",
)

# Fractions of the run at which the rate falls, and by what it is divided.
DROPS = {"200": (5, (0.3, 0.6, 0.8)), "300": (10, (0.5, 0.75))}


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the CIFAR-100 ResNet-18 recipe."""

    dataset: str = "cifar100"
    """a TFDS data set, a .npz of arrays, generated, or digits"""
    data_dir: str | None = None
    """where TFDS looks; its own default if not given"""
    width: int = 64
    """channels of the first stage"""
    epochs: int = 200
    schedule: Literal["200", "300"] = "200"
    """the drops of the 200 or the 300 epoch schedule, as fractions of the run"""
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup_epochs: float = 1.0
    """rising linearly from zero"""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    """added to the gradients"""
    no_bias_decay: bool = True
    """decay kernels only; else biases and norms too"""
    zero_gamma: bool = True
    """start the last norm of each branch at zero"""
    label_smoothing: float = 0.1
    drop_path: float = 0.0
    """rate at which the last block is left out"""
    padding: int = 4
    """pixels of reflected border before the crop"""
    flip: bool = True
    """mirror at random, and average the final test over mirror images"""
    cutout: int = 0
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
    factor, drops = DROPS[config.schedule]
    warmup = round(config.warmup_epochs / config.epochs * steps)
    rate = piecewise_values_schedule(
        [config.learning_rate / factor**i for i in range(len(drops) + 1)],
        [max(round(drop * steps) - warmup, i + 1) for i, drop in enumerate(drops)],
    )
    return optax.chain(
        ot.add_decayed_weights(
            config.weight_decay, mask=ot.no_bias_or_norm if config.no_bias_decay else None
        ),
        ot.sgd(
            learning_rate or warmup_schedule(rate, warmup_steps=warmup),
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
        zero_init_last_gamma=config.zero_gamma,
        drop_path=config.drop_path,
        **policy(config.compute_dtype).of_network,
        rngs=nnx.Rngs(config.seed),
    )
    tx = make_optimizer(config, steps)
    return make_small_image_job(config, dataset, model, tx)
