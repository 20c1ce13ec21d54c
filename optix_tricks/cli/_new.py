"""`optix-tricks new`: a recipe of one's own to begin with, which runs as it is."""

import dataclasses

from optix_tricks.cli._options import UsageError, parsed
from optix_tricks.cli._positional import File

STARTING_FILE = '''\
"""My recipe. Train it:  optix-tricks train ./{name}

More tricks and other numbers, without a change here (`optix-tricks tricks` lists all):

    optix-tricks train ./{name} --with mixup=0.4 --without warm_up --learning-rate 0.1
"""

import functools

import jax.numpy as jnp
from flax import nnx
from optix_tricks import tricks
from optix_tricks.tricks import Setup

BatchNorm = functools.partial(nnx.BatchNorm, momentum=0.9)  # 0.99 is for long runs


class Network(nnx.Module):
    """Two convolutions and a linear layer; yours is any flax.nnx module."""

    def __init__(self, classes, channels, *, norm=BatchNorm, rngs):
        self.conv1 = nnx.Conv(channels, 16, (3, 3), rngs=rngs)
        self.norm1 = norm(16, rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, (3, 3), strides=2, rngs=rngs)
        self.norm2 = norm(32, rngs=rngs)
        self.head = nnx.Linear(32, classes, rngs=rngs)

    def __call__(self, images):
        x = nnx.relu(self.norm1(self.conv1(images)))
        x = nnx.relu(self.norm2(self.conv2(x)))
        return self.head(jnp.mean(x, axis=(1, 2)))


def setup():
    """What is trained and how. `context` has the facts of the data."""
    return Setup(
        lambda context, *, rngs: Network(context.classes, context.channels, rngs=rngs),
        epochs=5,
        batch_size=64,
    ).take(tricks.nesterov(0.1), tricks.warm_up(0.2), tricks.linear, tricks.l2(5e-4))


# def data():  # yours, in place of `--dataset digits`; see docs/setups.md
#     return Dataset("mine", Batch(inputs, targets), Batch(test_inputs, test_targets))
'''


@dataclasses.dataclass(frozen=True)
class NewOptions:
    """What is written."""

    file: File
    """such as mine.py; it must not be there yet"""
    debug: bool = False
    """show the traceback of an error"""


def new(arguments: list[str]) -> None:
    """Write a recipe to begin with: a network, tricks and numbers to change."""
    path = parsed(NewOptions, "new", new.__doc__, arguments).file
    if path.suffix != ".py":
        raise UsageError(f"new takes one file, mine.py, got {path}.")
    try:
        with path.open("x") as file:
            file.write(STARTING_FILE.format(name=path.name))
    except FileExistsError as error:
        raise UsageError(f"{path} is there already: name another file.") from error
    there = path if path.is_absolute() else f"./{path}"
    print(f"{path} is written: train it by  optix-tricks train {there}")
