"""Parameters in a few flat buffers: one long loop instead of a thousand short ones.

A tree of many small arrays costs a dispatch for each of them. Packed, they lie end to end
in one buffer per dtype and mask group, and stay there from step to step: the model reads
`unpack(packed)`, gradients are packed once, and the optimiser walks long buffers. What is
long already has a buffer of its own, which costs nothing to pack and to unpack. Per-layer
norms go by segment, so layer-wise rules keep their meaning.
"""

import dataclasses
import itertools
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._masks import hidden_matrices, no_bias_or_norm, no_last_layer
from optix_tricks._tree import (
    Mask,
    PyTree,
    check_arrays,
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
          ValueError: if the mask divides a buffer.
        """
        flags = self._of_arrays(resolve_mask(mask, self.shapes))
        groups: list[set[bool]] = [set() for _ in self.dtypes]
        for segment, flag in zip(self.segments, flags, strict=True):
            groups[segment.buffer].add(flag)
        if any(len(group) > 1 for group in groups):
            raise ValueError(
                "mask must not divide a packed buffer: give it to pack(..., mask=mask), "
                "several as a tuple, mask=(no_bias_or_norm, other)."
            )
        return [group.pop() for group in groups]


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


DEFAULT_MASKS = (no_bias_or_norm, no_last_layer, hidden_matrices)


def pack(
    tree: PyTree,
    *,
    mask: Mask | tuple[Callable[[PyTree], PyTree], ...] | None = DEFAULT_MASKS,
    max_size: int = 2**16,
) -> Packed:
    """Lay the small arrays of `tree` end to end in one buffer per dtype and mask value.

    Helps with hundreds of small arrays. Masks and wrappers of Optax see the flat buffers:
    use the `mask` of our transformations instead.

    Args:
      tree: arrays of any shapes and dtypes.
      mask: the mask that the transformations will use, so that no buffer holds both
        masked and unmasked leaves; for several masks a tuple of functions. By default
        those that transformations have by default.
      max_size: elements; larger arrays get a buffer of their own.

    Returns:
      A `Packed` with the elements of `tree`; one copy of the data.

    Examples:
      >>> packed = pack({"w": jnp.ones((2, 3)), "v": jnp.zeros((4, 1)), "b": jnp.ones(3)})
      >>> [buffer.shape for buffer in packed.buffers]
      [(3,), (10,)]
      >>> unpack(packed)["w"].shape
      (2, 3)
    """
    check_arrays("tree", tree)
    leaves, treedef = jax.tree.flatten(tree)
    shapes = [jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in leaves]
    like = jax.tree.unflatten(treedef, shapes)
    masks: Any = mask if _is_several(mask) else (mask,)
    columns = zip(*(resolve_mask(mask, like) for mask in masks), strict=True)
    held = jax.tree.leaves(tree, is_leaf=is_none)
    flags = [column for column, x in zip(columns, held, strict=True) if x is not None]
    alone = [i if x.size > max_size else None for i, x in enumerate(leaves)]
    dtypes = [jnp.dtype(x.dtype) for x in leaves]
    of_leaf = list(zip(dtypes, flags, alone, strict=True))
    groups = {group: number for number, group in enumerate(dict.fromkeys(of_leaf))}
    ends = [0] * len(groups)
    segments: list[Any] = [None] * len(leaves)
    # By size: layers of one size lie together, and their norms are one reduction.
    for i in sorted(range(len(leaves)), key=lambda i: leaves[i].size):
        buffer = groups[of_leaf[i]]
        segments[i] = Segment(tuple(leaves[i].shape), buffer, ends[buffer])
        ends[buffer] = segments[i].stop
    layout = Layout(treedef, tuple(segments), tuple(dtype for dtype, *_ in groups))
    return _fill(leaves, layout)


def _is_several(mask: Any) -> bool:
    return type(mask) is tuple and mask != () and all(map(callable, mask))


def pack_like(tree: PyTree, packed: Packed) -> Packed:
    """Pack `tree` (gradients, say) in the layout of `packed`, in its own dtypes.

    Leaves of several dtypes in one buffer take the widest.

    Raises:
      ValueError: if the structures or shapes differ.
    """
    layout = packed.layout
    leaves, treedef = jax.tree.flatten(tree)
    shapes = [x.shape for x in leaves]
    if treedef != layout.treedef or shapes != [s.shape for s in layout.segments]:
        raise ValueError(
            "tree must have the structure and shapes that were packed: "
            f"got {treedef} with {shapes}."
        )
    return _fill(leaves, layout)


def _fill(leaves: list, layout: Layout) -> Packed:
    placed = sorted(
        zip(layout.segments, leaves, strict=True), key=lambda p: (p[0].start, p[0].stop)
    )
    parts: list[list] = [[] for _ in layout.dtypes]
    for segment, leaf in placed:
        parts[segment.buffer].append(jnp.ravel(leaf))
    return Packed(tuple(jnp.concatenate(part) for part in parts), layout)


def unpack(packed: Packed) -> PyTree:
    """Return the tree of views that was packed."""
    return packed.layout.treedef.unflatten(
        packed.buffers[s.buffer][s.start : s.stop].reshape(s.shape)
        for s in packed.layout.segments
    )


def unpacked(tree: PyTree) -> PyTree:
    """Return the tree that was packed, or a tree that was not as it is."""
    return unpack(tree) if isinstance(tree, Packed) else tree


def packed_like(tree: PyTree, params: PyTree) -> PyTree:
    """Return `tree` packed where `params` are, else as it is."""
    return pack_like(tree, params) if isinstance(params, Packed) else tree


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
