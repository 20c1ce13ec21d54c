"""A small recipe, a small data set, and whole runs of it."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax

from optix_tricks.losses import cross_entropy
from optix_tricks.recipes import new_run
from optix_tricks.training import Batch, Dataset, Job, RunDirectory, train

RUN = new_run("cifar10_resnet9")
RUN = dataclasses.replace(
    RUN,
    dataset="toy",
    setup=RUN.setup.change(
        width=2, epochs=3, batch_size=16, learning_rate=0.1, cutout=2, crop=1
    ),
)


def changed(seed=0, **numbers):
    return dataclasses.replace(RUN, setup=RUN.setup.change(**numbers), seed=seed)


def linear(params, batch_stats, images, *, train, key=None):
    del train, key
    x = images.reshape(len(images), -1).astype(jnp.float32) / 255
    return x @ params["kernel"], batch_stats


def linear_job(**changes):
    """A network that compiles in no time; five steps an epoch of the toy images."""
    rng = np.random.default_rng(0)
    job = Job(
        apply=linear,
        params={"kernel": jnp.asarray(0.1 * rng.standard_normal((192, 3)), jnp.float32)},
        batch_stats={},
        loss=cross_entropy,
        tx=optax.sgd(0.01),
        augment=None,
        epochs=3,
        batch_size=16,
        seed=0,
        test_loss=cross_entropy,
    )
    return job._replace(**changes)


def toy_dataset(channels=3):
    """Classes that differ in brightness."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120).astype(np.int32)
    noise = rng.integers(0, 60, (120, 8, 8, channels))
    images = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
    train, test = (Batch(images[part], labels[part]) for part in (np.s_[:80], np.s_[80:]))
    return Dataset("toy", train, test, tuple("abc"))


def start(path: Path, run=RUN) -> RunDirectory:
    return RunDirectory.start(path, recipe=run.recipe.name, config=run.as_json())


def run_whole(path, run=RUN):
    dataset = toy_dataset()
    with start(path, run) as directory:
        return train(run.job(dataset), dataset, directory)
