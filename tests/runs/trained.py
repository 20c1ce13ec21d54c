"""Three runs of recipes of one's own, each trained once by the command."""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from optix_tricks import reports
from optix_tricks.cli import main
from optix_tricks.training import Batch, Dataset

IMAGES = """\
from optix_tricks import tricks
from tests.tricks.toys import base, dataset

def setup():
    return base(epochs=2)

def data():
    return dataset()
"""
TWO_CLASSES = IMAGES.replace(
    "return dataset()",
    "whole = dataset()\n"
    "    train, test = (x._replace(targets=x.targets // 2) for x in whole[1:3])\n"
    '    return whole._replace(train=train, test=test, class_names=("few", "many"))',
)
NUMBERS = """\
from flax import nnx
from optix_tricks import tricks
from optix_tricks.tricks import Setup
from tests.runs.trained import numbers

class Net(nnx.Module):
    def __init__(self, rngs):
        self.of_x = nnx.Linear(3, 1, rngs=rngs)
        self.of_kind = nnx.Embed(4, 1, rngs=rngs)
    def __call__(self, inputs):
        return (self.of_x(inputs["x"]) + self.of_kind(inputs["kind"]))[:, 0]

def setup():
    return Setup(lambda context, *, rngs: Net(rngs), epochs=4, batch_size=10).take(
        tricks.adamw(0.1))

def data():
    return numbers()
"""


def numbers(seed=0):
    """A float and a kind in, a number out."""

    def some(n, seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 3)).astype(np.float32)
        kind = rng.integers(0, 4, n).astype(np.int32)
        y = (x @ [1, -2, 0.5] + kind + 0.1 * rng.normal(size=n)).astype(np.float32)
        return Batch({"x": x, "kind": kind}, y)

    return Dataset("numbers", some(60, seed), some(30, seed + 1))


class Runs(NamedTuple):
    """Directories: two of images of the classes a, b and c, one of numbers."""

    plain: Path
    averaged: Path
    numbers: Path


FLAGS = Runs([], ["--with", "ema=0.8", "--with", "flip_views"], [])


def checkpoint(path, epoch):
    """The arrays that Orbax finds, as NumPy has them."""
    directory = path / "checkpoints" / str(epoch) / "default"
    reader = ocp.PyTreeCheckpointer()
    tree = reader.metadata(directory).item_metadata.tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    return reader.restore(directory, restore_args=as_numpy)


def without_page(patch):
    """Drawing it takes longer than these runs."""
    patch.setattr(reports, "write_report", lambda path: path / "report.html")


@functools.cache
def _trained(home):
    home.mkdir()
    paths = Runs(*(home / name for name in Runs._fields))
    for recipe, path, flags in zip((IMAGES, IMAGES, NUMBERS), paths, FLAGS, strict=True):
        file = path.with_suffix(".py")
        file.write_text(recipe)
        with pytest.MonkeyPatch.context() as patch:
            without_page(patch)
            main(["train", str(file), *flags, "--run-dir", str(path)])
    return paths


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return _trained(tmp_path_factory.getbasetemp() / "trained")
