"""airbench96: CIFAR-10 to 96 % in 37 epochs, some ten seconds of an accelerator.

The recipe of airbench94 with wider groups of three convolutions, the last two of each a
residual branch, larger shifts, and squares that are blanked out.

    optix-tricks train cifar10_airbench96                   # 9.92 M parameters
"""

import dataclasses

import optax

from optix_tricks.recipes import cifar10_airbench94
from optix_tricks.recipes._airbench import make_airbench_job
from optix_tricks.recipes._contract import Claim
from optix_tricks.training import Dataset, Job, total_steps

CLAIM = Claim(
    result="not yet measured",
    source="Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024 (96.03 %, "
    "n = 400)",
    cost="not yet measured",
)


@dataclasses.dataclass(frozen=True)
class Config(cifar10_airbench94.Config):
    """Settings of the airbench96 recipe."""

    width: int = 128
    """channels of the first group; the others have three and four times as many"""
    epochs: int | float = 37.0
    learning_rate: float = 9.0
    """at the peak, for 1024 examples, whatever the momentum"""
    warmup_fraction: float = 0.1
    """of all steps, rising from a fifth of the peak"""
    last_fraction: float = 0.0
    """of the peak, at the end"""
    weight_decay: float = 0.012
    """of a step at the peak, in the unit of the rate and whatever the rate"""
    padding: int = 4
    """pixels of reflected border before the crop"""
    cutout: int = 12
    """side of the square that is blanked out; 0 for none"""


def make_optimizer(
    config: Config, steps: int, *, learning_rate: optax.Schedule | None = None
) -> optax.GradientTransformation:
    """Return airbench94's chain with these numbers."""
    return cifar10_airbench94.make_optimizer(config, steps, learning_rate=learning_rate)


def build(config: Config, dataset: Dataset) -> Job:
    """Make the network, the augmentation and the optimiser for a data set."""
    steps = total_steps(config.epochs, dataset.train.size, config.batch_size)
    return make_airbench_job(
        config,
        dataset,
        make_optimizer(config, steps),
        lookahead=True,
        widths=(config.width, 3 * config.width, 4 * config.width),
        convs=3,
        norm_momentum=0.9,
    )
