"""Parameters in a few flat buffers: one long loop instead of a thousand short ones.

A tree of many small arrays costs a dispatch for each of them. Packed, they lie end to end
in one buffer per dtype and mask group, and stay there from step to step: the model reads
`unpack(packed)`, gradients are packed once, and the optimiser walks long buffers. What is
long already has a buffer of its own, which costs nothing to pack and to unpack. Per-layer
norms go by segment, so layer-wise rules keep their meaning.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optix_tricks._layout import DividedBuffer, Layout, Packed, Segment
from optix_tricks._masks import hidden_matrices, no_bias_or_norm, no_last_layer
from optix_tricks._paths import Arrays
from optix_tricks._tree import Mask, PyTree, check_arrays, is_none, resolve_mask

DEFAULT_MASKS = (no_bias_or_norm, no_last_layer, hidden_matrices)


def pack(
    tree: Arrays,
    *,
    mask: Mask | tuple[Callable[[PyTree], PyTree], ...] | None = DEFAULT_MASKS,
    max_size: int = 2**16,
    tx: optax.GradientTransformation | None = None,
) -> Packed:
    """Lay the small arrays of `tree` end to end in one buffer per dtype and mask value.

    Helps with hundreds of small arrays. Wrappers of Optax hand the flat buffers to the
    masks and labels that they are given: these must be of this package, or made by
    `per_buffer`.

    Args:
      tree: arrays of any shapes and dtypes.
      mask: the mask that the transformations will use, so that no buffer holds both
        masked and unmasked leaves; for several masks a tuple of functions. By default
        those that transformations have by default.
      max_size: elements; larger arrays get a buffer of their own.
      tx: the optimiser: no buffer then holds leaves that one of its masks or labels tells
        apart. Its `init` is traced once more for each of them that divides a buffer.

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
    kinds = [column for column, x in zip(columns, held, strict=True) if x is not None]
    layout = _lay(leaves, treedef, kinds, max_size)
    while tx is not None:
        try:
            jax.eval_shape(lambda layout=layout: tx.init(_fill(leaves, layout)))
            break
        except DividedBuffer as divided:
            kinds = [(*k, v) for k, v in zip(kinds, divided.values, strict=True)]
            layout = _lay(leaves, treedef, kinds, max_size)
    return _fill(leaves, layout)


def _lay(leaves: list, treedef: Any, kinds: list[tuple], max_size: int) -> Layout:
    """One buffer for the small leaves of a dtype and kind."""
    alone = [i if x.size > max_size else None for i, x in enumerate(leaves)]
    dtypes = [jnp.dtype(x.dtype) for x in leaves]
    of_leaf = list(zip(dtypes, kinds, alone, strict=True))
    groups = {group: number for number, group in enumerate(dict.fromkeys(of_leaf))}
    ends = [0] * len(groups)
    segments: list[Any] = [None] * len(leaves)
    # By size: layers of one size lie together, and their norms are one reduction.
    for i in sorted(range(len(leaves)), key=lambda i: leaves[i].size):
        buffer = groups[of_leaf[i]]
        segments[i] = Segment(tuple(leaves[i].shape), buffer, ends[buffer])
        ends[buffer] = segments[i].stop
    return Layout(treedef, tuple(segments), tuple(dtype for dtype, *_ in groups))


def _is_several(mask: Any) -> bool:
    return type(mask) is tuple and mask != () and all(map(callable, mask))


def pack_like(tree: Arrays, packed: Packed) -> Packed:
    """Pack `tree` (gradients, say) in the layout of `packed`, in its own dtypes.

    Leaves of several dtypes in one buffer take the widest.

    Raises:
      ValueError: if the structures or shapes differ.
    """
    check_arrays("tree", tree)
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
