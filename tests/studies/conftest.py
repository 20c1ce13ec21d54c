"""Runs of a recipe of one's own, for what is measured where a run stands."""

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks import recipes, tricks
from optix_tricks.studies._weight_norm._invariant import invariant_layers
from optix_tricks.training import RunDirectory, load_dataset, train
from tests.studies.quadratics import half_square
from tests.studies.toy_study import TOY


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Train a job on random images under a recipe of its own; return its directory."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (320, 2, 2, 3), np.uint8)
    labels = (np.arange(320) % 4).astype(np.int32)
    arrays = {"train_images": images, "train_labels": labels}
    arrays |= {"test_images": images[:8], "test_labels": labels[:8]}
    np.savez(tmp_path / "toy.npz", **arrays)

    def make(apply, params, loss=half_square):
        network = (apply, jax.tree.map(jnp.array, params), {})
        recipe = ModuleType("toy")
        recipe.__file__ = __file__
        recipe.DATASET = str(tmp_path / "toy.npz")
        recipe.setup = lambda: tricks.Setup(
            network, epochs=3, batch_size=16, loss=loss
        ).take(tricks.sgd(0.01))
        monkeypatch.setitem(recipes.RECIPES, "toy", recipe)
        path, settings = tmp_path / "run", recipes.new_run("toy")
        with RunDirectory.start(path, recipe="toy", config=settings.as_json()) as run:
            dataset = settings.load()
            train(settings.job(dataset), dataset, run)
        return path, images.reshape(320, -1) / np.float32(255)

    return make


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def job(digits):
    return TOY.job(digits)


@pytest.fixture(scope="module")
def invariant(job, digits):
    return invariant_layers(job, digits)
