"""The networks beside whose steps diagnostics are timed, on images of noise."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

import optix_tricks as ot
from optix_tricks.losses import cross_entropy
from optix_tricks.recipes import cifar10_resnet9
from optix_tricks.training import Batch, Dataset, Job, ResNet9, functional


class Network(NamedTuple):
    """What is trained, and on what."""

    name: str
    model: nnx.Module
    job: Job
    batch: Batch
    tx: Any
    looped: bool  # whether compiled loops are fast: without convolutions


class MLP(nnx.Module):
    """One hidden layer."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(64, 64, rngs=rngs)
        self.out = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, images: Any, *, train: bool) -> Any:
        del train
        return self.out(nnx.relu(self.hidden(images.reshape(len(images), -1) / 255)))


def images(size: int, shape: tuple[int, ...]) -> Batch:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 256, (size, *shape), dtype=np.uint8)
    return Batch(jnp.asarray(drawn), jnp.asarray(rng.integers(0, 10, size)))


def mlp() -> Network:
    model = MLP(nnx.Rngs(0))
    apply, params, stats = functional(model, preprocess=lambda x: x)  # it scales them
    tx = ot.sgd(0.1, momentum=0.9)
    job = Job(
        *(apply, params, stats, cross_entropy, tx, None),
        epochs=1,
        batch_size=64,
        seed=0,
        test_loss=cross_entropy,
    )
    return Network("MLP 64-64-10, batch 64", model, job, images(64, (8, 8, 1)), tx, True)


def resnet9(width: int, batch_size: int) -> Network:
    batch = images(batch_size, (32, 32, 3))
    arrays = np.asarray(batch.inputs), np.asarray(batch.targets)
    dataset = Dataset("random", *2 * [Batch(*arrays)], tuple("0123456789"))
    setup = cifar10_resnet9.setup().change(width=width, batch_size=batch_size)
    job = setup.job(dataset)
    name = f"ResNet-9 of width {width}, batch {batch_size}"
    model = ResNet9(10, width=width, rngs=nnx.Rngs(0))
    return Network(name, model, job, batch, job.tx, False)
