"""How a tree lies in flat buffers, and what is asked of its layers there."""

import dataclasses
import functools
import itertools
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._tree import (
    Mask,
    PyTree,
    is_none,
    resolve_labels,
    resolve_mask,
    safe_sqrt,
)


class Segment(NamedTuple):
    """Where one leaf lies: its shape, its buffer and its first element there."""

    shape: tuple[int, ...]
    buffer: int
    start: int

    @property
    def stop(self) -> int:
        """The first element behind this leaf."""
        return self.start + math.prod(self.shape)


class Layout(NamedTuple):
    """How a tree lies in its buffers; static, hashable, compared by value."""

    treedef: Any
    segments: tuple[Segment, ...]
    dtypes: tuple[Any, ...]  # of the buffers

    def of_buffer(self, buffer: int) -> list[int]:
        """The leaves of one buffer, in the order in which they lie there."""
        held = [i for i, s in enumerate(self.segments) if s.buffer == buffer]
        return sorted(held, key=lambda i: (self.segments[i].start, self.segments[i].stop))

    @property
    def shapes(self) -> PyTree:
        """The tree that was packed, as shapes."""
        return self.treedef.unflatten(
            jax.ShapeDtypeStruct(s.shape, self.dtypes[s.buffer]) for s in self.segments
        )

    def _of_arrays(self, values: list) -> list:
        """Those of one value for each leaf that belong to arrays, not to None."""
        held = jax.tree.leaves(self.shapes, is_leaf=is_none)
        return [v for v, x in zip(values, held, strict=True) if x is not None]

    def layers(self, labels: Any) -> list["SegmentedLeaf"]:
        """What a layer-wise rule asks of each buffer."""
        named = self._of_arrays(resolve_labels(labels, self.shapes))
        leaves = [WholeLeaf(i, label) for i, label in enumerate(named)]
        return [
            SegmentedLeaf([self.segments[i] for i in held], [leaves[i] for i in held])
            for held in map(self.of_buffer, range(len(self.dtypes)))
        ]

    def mask_buffers(self, mask: Mask | None) -> list[bool]:
        """One bool per buffer.

        Raises:
          DividedBuffer: if the mask divides a buffer.
        """
        return self._of_buffers(self._of_arrays(resolve_mask(mask, self.shapes)))

    def label_buffers(self, labels: Any) -> list:
        """One label per buffer.

        Raises:
          DividedBuffer: if the labels divide a buffer.
        """
        return self._of_buffers(self._of_arrays(resolve_labels(labels, self.shapes)))

    def _of_buffers(self, values: list) -> list:
        found: list[set] = [set() for _ in self.dtypes]
        for segment, value in zip(self.segments, values, strict=True):
            found[segment.buffer].add(value)
        if any(len(group) > 1 for group in found):
            raise DividedBuffer(values)
        return [group.pop() for group in found]


class DividedBuffer(ValueError):
    """A mask or labels that tell leaves of one buffer apart."""

    def __init__(self, values: list):
        super().__init__(
            "mask must not divide a packed buffer: give the optimiser to "
            "pack(..., tx=tx), or the mask to pack(..., mask=mask), several as a tuple, "
            "mask=(no_bias_or_norm, other)."
        )
        self.values = values  # one for each array that was packed


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Packed:
    """A tree of arrays as flat buffers; itself a tree, whose leaves are the buffers."""

    buffers: tuple[Any, ...]
    layout: Layout = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        """Make packed trees known to `flax.serialization`, if somebody imported it."""
        flax = sys.modules.get("flax.serialization")
        if flax is not None and not flax.is_serializable(Packed):
            flax.register_serialization_state(
                Packed,
                lambda packed: flax.to_state_dict(packed.buffers),
                lambda packed, buffers: dataclasses.replace(
                    packed, buffers=flax.from_state_dict(packed.buffers, buffers)
                ),
            )


class WholeLeaf(NamedTuple):
    """What a layer-wise rule asks of a leaf of a plain tree: it is one layer."""

    place: int = 0  # among the leaves of the tree
    label: Any = None  # of those that `leafwise` was given
    shape: tuple[int, ...] = ()  # of a number per layer

    def norm(self, x: Array) -> Array:
        """Euclidean norm of the layer."""
        return safe_sqrt(jnp.sum(jnp.square(x)))

    def spread(self, per_layer: Array) -> Array:
        """Make a number per layer multiply the layer's elements."""
        return per_layer

    def of_label(self, number: Callable[[Any], float]) -> Any:
        """The number of the layer's label."""
        return number(self.label)

    def map(self, rule: Callable[..., tuple], *arrays: Array) -> tuple:
        """Apply `rule(leaf, *arrays)`, which may read the layer's shape and place."""
        return rule(self, *arrays)


class SegmentedLeaf:
    """What a layer-wise rule asks of a packed buffer: its layers are segments."""

    def __init__(self, segments: list[Segment], leaves: list[WholeLeaf]):
        sizes = [s.stop - s.start for s in segments]
        self.runs = [(n, len(list(run))) for n, run in itertools.groupby(sizes)]
        self.shape = (len(segments),)
        self.layers = list(zip(segments, leaves, strict=True))

    def norm(self, x: Array) -> Array:
        """Euclidean norm of each layer: [layers]."""
        norms, start = [], 0
        for size, layers in self.runs:
            stop = start + size * layers
            run = x[start:stop].reshape(layers, size)
            norms.append(safe_sqrt(jnp.sum(jnp.square(run), axis=1)))
            start = stop
        return jnp.concatenate(norms)

    def spread(self, per_layer: Array) -> Array:
        """Repeat each layer's number over its elements: [elements]."""
        parts, first = [], 0
        for size, layers in self.runs:
            column = per_layer[first : first + layers, None]
            parts.append(jnp.broadcast_to(column, (layers, size)).ravel())
            first += layers
        return jnp.concatenate(parts)

    def of_label(self, number: Callable[[Any], float]) -> Array:
        """The number of each layer's label: [layers]."""
        return jnp.array([number(leaf.label) for _, leaf in self.layers])

    def map(self, rule: Callable[..., tuple], *arrays: Array) -> tuple:
        """Apply `rule` to each layer in its own shape; join what it returns."""
        results = [
            rule(leaf, *(x[s.start : s.stop].reshape(s.shape) for x in arrays))
            for s, leaf in self.layers
        ]
        return tuple(
            jnp.concatenate([jnp.ravel(part) for part in parts])
            for parts in zip(*results, strict=True)
        )


def per_buffer(labels: Callable[[PyTree], PyTree]) -> Callable[[PyTree], PyTree]:
    """Let a mask or labels, a function of a tree, be asked of a packed tree too.

    Of a packed tree the function sees the leaves that were packed, with their paths and
    shapes, and the result has what it says of each buffer. For the wrappers of Optax,
    `optax.masked` and `optax.partition`, which hand on the tree as it is. All masks of
    this package, and `label_by_path`, are so already.

    Args:
      labels: a function from a tree of arrays to a tree of bools or labels.

    Returns:
      The function. It raises a ValueError where the leaves of one buffer differ, which
      `pack(..., tx=tx)` prevents.

    Examples:
      >>> from optix_tricks import no_bias_or_norm, pack
      >>> is_long = per_buffer(lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree))
      >>> packed = pack({"w": jnp.ones((2, 3)), "b": jnp.ones(3)}, mask=no_bias_or_norm)
      >>> is_long(packed).buffers
      (False, True)
    """

    @functools.wraps(labels)
    def of_tree(tree: PyTree) -> PyTree:
        if not isinstance(tree, Packed):
            return labels(tree)
        return dataclasses.replace(tree, buffers=tuple(tree.layout.label_buffers(labels)))

    return of_tree
