"""A small recipe, a small data set, and whole runs of it."""

import dataclasses
from pathlib import Path

import numpy as np

from optix_tricks.recipes import cifar10_resnet9
from optix_tricks.training import Batch, Dataset, RunDirectory, train

CONFIG = cifar10_resnet9.Config(
    dataset="toy",
    width=2,
    epochs=3,
    batch_size=16,
    learning_rate=0.1,
    cutout=2,
    padding=1,
)


def toy_dataset(channels=3):
    """Classes that differ in brightness."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120).astype(np.int32)
    noise = rng.integers(0, 60, (120, 8, 8, channels))
    images = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
    train, test = (Batch(images[part], labels[part]) for part in (np.s_[:80], np.s_[80:]))
    return Dataset("toy", train, test, tuple("abc"))


def start(path: Path, config=CONFIG) -> RunDirectory:
    return RunDirectory.start(
        path, recipe="cifar10_resnet9", config=dataclasses.asdict(config)
    )


def run_whole(path, config=CONFIG):
    dataset = toy_dataset()
    with start(path, config) as run:
        return train(cifar10_resnet9.build(config, dataset), dataset, run)
