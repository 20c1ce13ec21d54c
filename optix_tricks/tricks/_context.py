"""What parts are made from: facts of the data and of the run."""

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Key

from optix_tricks._paths import map_named
from optix_tricks._tree import PyTree
from optix_tricks.training import (
    Apply,
    Batch,
    Dataset,
    kernels_in_order,
    normalize,
    steps_per_epoch,
    total_steps,
)
from optix_tricks.training._state import pixels_as_floats


class Earlier(NamedTuple):
    """The network of an earlier run with its weights, and what its inputs go through."""

    module: nnx.Module
    prepare: Callable[[Any], Any]


def _not_yet(*_: Any, **__: Any) -> Any:
    raise RuntimeError("the network is made from parts that must not ask for it.")


class Network(NamedTuple):
    """A network as functions; its weights follow from a seed."""

    apply: Apply
    init: Callable[[int], tuple[PyTree, PyTree]]  # seed to parameters and statistics
    module: Callable[[int], nnx.Module] = _not_yet  # of a seed, where it is one


NO_NETWORK = Network(_not_yet, _not_yet)


def _unknown(run: str) -> Earlier:
    raise ValueError(
        f"the network of run {run!r} can be made by its recipe alone: train by"
        " `optix-tricks train`, or give setup.plan a function restore(run)."
    )


@dataclasses.dataclass(frozen=True)
class Context:
    """Facts of the data and of the run; every part is a function of them.

    Attributes:
      dataset: what is trained on.
      epochs: of the run; the last may be a fraction.
      batch_size: examples of a step.
      accumulated: how many steps make an update of the parameters.
      decay_mask: of the parameters that decay, as the setup's tricks have it.
      peak: of the learning rate, in the unit of the setup.
      rate: the learning rate at each update, as the optimiser takes it.
      network: as functions, once it is made.
      restore: returns the network of an earlier run, by the path of its directory.
      at_once: make a network of this package's as one program, for a process that makes
        one: its first then takes a third of the time, and each later one longer.
    """

    dataset: Dataset
    epochs: int | float
    batch_size: int
    accumulated: int = 1
    decay_mask: Callable[[PyTree], PyTree] | None = None
    peak: ArrayLike | None = None
    rate: optax.Schedule | None = None
    network: Network = NO_NETWORK
    restore: Callable[[str], Earlier] = _unknown
    at_once: bool = False

    @property
    def example(self) -> Batch:
        """Shapes and dtypes of one example, without the axis of the batch."""
        first = self.dataset.train._replace(indices=None)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), first)

    @property
    def has_images(self) -> bool:
        """Whether an input is one image uint8 [height, width, channel]."""
        inputs = self.example.inputs
        return getattr(inputs, "dtype", None) == np.uint8 and len(inputs.shape) == 3

    @property
    def has_vectors(self) -> bool:
        """Whether an input is one array of numbers: floats, or the pixels of an image."""
        dtype = getattr(self.example.inputs, "dtype", None)
        return dtype is not None and (
            dtype == np.uint8 or jnp.issubdtype(dtype, jnp.floating)
        )

    @property
    def has_tokens(self) -> bool:
        """Whether an input is tokens [length], with one of the classes at each."""
        inputs, targets = self.example.inputs, self.example.targets
        if not all(hasattr(x, "dtype") for x in (inputs, targets)):
            return False
        are_integers = all(np.issubdtype(x.dtype, np.integer) for x in (inputs, targets))
        return are_integers and len(inputs.shape) == 1 and inputs.shape == targets.shape

    @property
    def has_classes(self) -> bool:
        """Whether a target is one of the data set's classes."""
        targets = self.example.targets
        is_one = hasattr(targets, "dtype") and targets.shape == ()
        return is_one and np.issubdtype(targets.dtype, np.integer) and self.classes > 0

    @property
    def classes(self) -> int:
        """How many classes the data set names."""
        return self.dataset.num_classes

    @property
    def channels(self) -> int:
        """Of the images."""
        return self.dataset.image_shape[-1]

    @functools.cached_property
    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of each channel of the training images, over 255."""
        return self.dataset.channel_statistics()

    @property
    def steps_per_epoch(self) -> int:
        """Full batches."""
        return steps_per_epoch(self.dataset.train.size, self.batch_size)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return total_steps(self.epochs, self.dataset.train.size, self.batch_size)

    @property
    def updates(self) -> int:
        """Of the parameters: what schedules count."""
        return max(self.steps // self.accumulated, 1)

    @functools.cached_property
    def prepare(self) -> Callable[[Any], Any]:
        """What inputs go through first: images to zero mean, others as they are."""
        if not self.has_images:
            return pixels_as_floats
        return normalize(*map(jnp.asarray, self.statistics))

    def depths(self, tree: PyTree) -> PyTree:
        """Return for each parameter the number of its layer in the order of their use.

        A parameter that is no kernel is of the layer that shares most of its path.
        """
        order = [name.split("/") for name in self._kernels]

        def depth(leaf: Any) -> int:
            path = leaf.name.split("/")

            def shared(kernel: list[str]) -> int:
                same = [a == b for a, b in zip(path, kernel, strict=False)]
                return [*same, False].index(False)

            return max(range(len(order)), key=lambda i: (shared(order[i]), i))

        return map_named(depth, tree)

    @functools.cached_property
    def _kernels(self) -> list[str]:
        made = self.network.init(0)
        return [*kernels_in_order(self.network.apply, *made, self.first(1).inputs)]

    def first(self, count: int) -> Batch:
        """Return the first training examples, as they are in the data set."""
        some = self.dataset.train._replace(indices=None)
        return jax.tree.map(lambda x: jnp.asarray(x[:count]), some)


def named_key(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """Return the key of the part of this name: no other part's draws depend on it.

    >>> mixup, cutout = (named_key(jax.random.key(0), x) for x in ("mixup", "cutout"))
    >>> bool(mixup == cutout)
    False
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def in_turn(parts: dict[str, Callable[..., Any]]) -> Callable[..., Any] | None:
    """Return the function `(key, x, *more) -> x` that applies parts one after the other.

    Each draws from the key of its own name. None of none.
    """
    if not parts:
        return None

    def apply(key: Key[Array, ""], x: Any, *more: Any) -> Any:
        for name, part in parts.items():
            x = part(named_key(key, name), x, *more)
        return x

    return apply
