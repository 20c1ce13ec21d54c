"""Learning rate against test accuracy over several networks."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flax import nnx

from optix_tricks.studies._rate_sweep import sweep_learning_rates
from optix_tricks.studies._weight_norm._config import (
    Config,
    OnStep,
    heavy_ball,
    peaked_schedule,
    share_of,
)
from optix_tricks.training import (
    BasicBlock,
    BottleneckBlock,
    Dataset,
    Job,
    ResNet,
    ResNet9,
    steps_per_epoch,
)
from optix_tricks.training._json_numbers import finite_lists
from optix_tricks.tricks import classifier

FACTORS = (1 / 16, 1 / 4, 1 / 2, 1, 2, 4, 16)  # of the configured rate


def run_rates(
    config: Config, dataset: Dataset, path: Path, on_step: OnStep
) -> dict[str, Any]:
    """Train each network at each rate with each seed."""
    rates = [factor * config.learning_rate for factor in FACTORS]
    found: dict[str, Any] = {"rates": rates, "networks": {}}
    networks = list(_networks(config))
    for place, network in enumerate(networks):
        sweep = sweep_learning_rates(
            functools.partial(rate_job, config, dataset, network),
            dataset,
            rates=rates,
            seeds=range(config.seed, config.seed + config.seeds),
            path=path / "trainings.jsonl",
            name=network,
            on_epoch=share_of(on_step, place, len(networks)),
        )
        found["networks"][network] = finite_lists(sweep.accuracy)
    return found


def rate_job(config: Config, dataset: Dataset, network: str, rate: Any, seed: int) -> Job:
    """Return a training of one of the networks."""
    steps = config.sweep_epochs * steps_per_epoch(dataset.train.size, config.batch_size)
    tx = heavy_ball(
        peaked_schedule(rate, steps),
        weight_decay=config.weight_decay,
        momentum=config.momentum,
    )
    setup = dataclasses.replace(
        config.setup(epochs=config.sweep_epochs).without("resnet9"),
        network=classifier(_networks(config)[network]),
    )
    return setup.job(dataset, seed=seed)._replace(tx=tx)


def _networks(config: Config) -> dict[str, Callable[..., nnx.Module]]:
    """Makers of networks of other widths, depths and blocks, by name."""

    def resnet9(width: int) -> Callable[..., nnx.Module]:
        return functools.partial(ResNet9, width=width)

    def resnet(stages: tuple[int, ...], block: Any) -> Callable[..., nnx.Module]:
        shape = {"stages": stages, "block": block, "width": config.sweep_width}
        return functools.partial(ResNet, stem="cifar", **shape)

    width = config.sweep_width
    return {
        f"ResNet-9, width {width}": resnet9(width),
        f"ResNet-9, width {width // 2}": resnet9(width // 2),
        f"ResNet-10, width {width}": resnet((1, 1, 1, 1), BasicBlock),
        f"bottleneck ResNet-14, width {width}": resnet((1, 1, 1, 1), BottleneckBlock),
    }
