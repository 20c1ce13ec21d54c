"""The testbed of the project's own ledger: a small network on a part of CIFAR-10.

A ResNet-9 of narrow layers on images of half the size, momentum with a linear fall, and
no other trick: what a trick adds to it can be measured on two processor cores.

    optix-tricks ablate benchmarks/ledger_cifar10.py --add --tricks mixup,flip --seeds 5
"""

import numpy as np

from optix_tricks import tricks
from optix_tricks.training import Batch, Dataset, load_dataset
from optix_tricks.tricks import Setup

TRAIN, TEST = 8_192, 5_000


def setup() -> Setup:
    """Return the bare base."""
    return Setup(epochs=3, batch_size=64).take(
        tricks.resnet9(width=8),
        tricks.momentum(0.1),
        tricks.linear,
    )


def data() -> Dataset:
    """Return the first images of each split, each pixel the mean of four."""
    whole = load_dataset("cifar10")
    train, test = _half(whole.train, TRAIN), _half(whole.test, TEST)
    return whole._replace(name="cifar10 at 16 pixels", train=train, test=test)


def _half(batch: Batch, size: int) -> Batch:
    images = np.asarray(batch.inputs[:size], np.uint16)
    n, height, width, channels = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2, channels)
    halved = np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)
    return Batch(halved, batch.targets[:size])
