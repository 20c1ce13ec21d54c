"""The numbers of the experiments, and the optimiser of the article."""

import dataclasses
from collections.abc import Callable
from typing import Any

import optax

import optix_tricks as ot
from optix_tricks._checks import check_count, check_decay, check_positive
from optix_tricks.recipes import cifar10_resnet9
from optix_tricks.schedules import linear_schedule, warmup_schedule
from optix_tricks.training import Dataset, Job
from optix_tricks.tricks import Setup

OnStep = Callable[[int, int], None]  # done, of how many


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the experiments."""

    dataset: str = "cifar10"
    """a TFDS data set, a .npz of arrays, generated, or digits"""
    data_dir: str | None = None
    """where TFDS looks; its own default if not given"""
    width: int = 16
    """channels of the ResNet-9's first convolution; 64 is the article's"""
    batch_size: int = 128
    momentum: float = 0.9
    """heavy ball"""
    weight_decay: float = 5e-4
    """added to the gradients of kernels"""
    learning_rate: float = 0.1
    """at the peak; without momentum 1 / (1 - momentum) times as much"""
    epochs: int = 6
    """of each of the two trainings of plots i to vii"""
    constant_rate: float = 0.2
    """of the part constant"""
    constant_steps: int = 2000
    """of the part constant; relaxation takes (1 - momentum) / (4 rate decay)"""
    sweep_width: int = 8
    """channels of the many networks of the parts lars, batch and rates"""
    sweep_epochs: int = 2
    """of each of their trainings"""
    seeds: int = 3
    """of each setting there"""
    seed: int = 0

    def setup(self, **changes: Any) -> Setup:
        """Return the ResNet-9 recipe with these numbers, without cutout."""
        names = ("width", "batch_size", "weight_decay", "epochs", "momentum")
        shared = {name: getattr(self, name) for name in names}
        return cifar10_resnet9.setup().without("cutout").change(**(shared | changes))

    def job(self, dataset: Dataset, **changes: Any) -> Job:
        """Return the recipe's job, whose optimiser the experiments replace."""
        seed = changes.pop("seed", self.seed)
        return self.setup(**changes).job(dataset, seed=seed)


def peaked_schedule(peak: Any, steps: int) -> optax.Schedule:
    """Rise from zero over a fifth of the steps, then fall to zero, both in a line."""
    warmup = round(0.2 * steps)
    shape = warmup_schedule(
        linear_schedule(1.0, 0.0, max(steps - warmup, 1)), warmup_steps=warmup
    )
    return lambda count: peak * shape(count)


def heavy_ball(
    learning_rate: Any, *, weight_decay: float, momentum: float
) -> optax.GradientTransformation:
    """Coupled decay on kernels, then momentum: the optimiser of the article."""
    return optax.chain(
        ot.add_decayed_weights(weight_decay, mask=ot.no_bias_or_norm),
        ot.sgd(learning_rate, momentum=momentum or None),
    )


def share_of(on_step: OnStep, place: int, shares: int) -> OnStep:
    """Count the epochs of one of several equal sweeps, which come as numbers done."""
    return lambda done, total: on_step(place * total + done - 1, shares * total)


def check_config(config: Config) -> None:
    """Raise ValueError, naming the field, unless all parts can run."""
    for name in ("weight_decay", "learning_rate", "constant_rate"):
        check_positive(name, getattr(config, name))
    check_decay("momentum", config.momentum)
    for name in ("width", "batch_size", "epochs", "sweep_epochs", "seeds"):
        check_count(name, getattr(config, name), minimum=1)
    check_count("sweep_width", config.sweep_width, minimum=2)
    check_count("constant_steps", config.constant_steps, minimum=4)
