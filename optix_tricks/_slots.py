"""Slots: what a rule keeps for each parameter, how it starts, how it stands in a state.

A state holds trees of arrays and nothing else. Frameworks that box the arrays of a tree
of parameters (`nnx.Optimizer` does) then find arrays here too: what is a tuple of arrays
for one parameter is a tuple of trees in the state. And what has not the parameter's shape
does not lie in the parameter's box, which may say how the parameter is sharded.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from optax import MaskedNode

from optix_tricks._layout import WholeLeaf
from optix_tricks._paths import is_hole, unbox
from optix_tricks._storage import Blocks, as_stored
from optix_tricks._tree import PyTree, is_none, wide_dtype

PER_LAYER = object()
"""Initial value of a slot that holds one float32 number per layer, for reports."""

PARAMETER = object()
"""Initial value of a slot that starts as a copy of the parameter."""


class PerUnit(NamedTuple):
    """Initial value of a slot of zeros, one for each unit of a layer.

    In packed buffers, which are cut by elements, it is one for each element.
    """

    axes: Callable[[Any], tuple[int, ...]]  # of one unit in an array


class Queue(NamedTuple):
    """Initial value of a slot that is a tuple: `length` arrays of zeros."""

    length: int


class Form:
    """The structure of a tree, with the boxes in which its arrays lie and without."""

    def __init__(self, tree: PyTree):
        self.boxed: Any = jax.tree.structure(tree, is_leaf=is_none)
        self._tree = tree

    @functools.cached_property
    def pure(self) -> Any:
        """Without them."""
        return jax.tree.structure(unbox(self._tree), is_leaf=is_none)


def first_slot(value: Any, w: Any, layer: Any, state_dtype: Any) -> Any:
    """The slot of the parameter `w` that begins with `value`."""
    if value is PER_LAYER:
        return jnp.zeros(layer.shape, jnp.float32)
    if isinstance(value, Queue):
        return tuple(first_slot(0.0, w, layer, state_dtype) for _ in range(value.length))
    wide = wide_dtype(w.dtype)
    if isinstance(value, PerUnit):
        zeros = jnp.zeros_like(w, dtype=wide)
        is_whole = isinstance(layer, WholeLeaf)
        return jnp.sum(zeros, axis=value.axes(w), keepdims=True) if is_whole else zeros
    if value is PARAMETER and isinstance(w, jax.Array):
        first = jnp.array(w, wide)  # a copy: the parameters may be donated
    else:  # keeps a sharding; of a shape there is nothing to copy
        number = 0.0 if value is PARAMETER else value
        first = jnp.full_like(w, number, dtype=wide)
    return as_stored(first, state_dtype)


def put(value: Any, column: list, form: Form) -> Any:
    """The slots of all leaves, as they stand in a state."""
    if isinstance(value, Queue):
        places = range(value.length)
        rows = ([x if is_hole(x) else x[place] for x in column] for place in places)
        return tuple(put(None, row, form) for row in rows)
    if value is PER_LAYER or isinstance(value, PerUnit):
        return form.pure.unflatten(column)
    if not any(isinstance(x, Blocks) for x in column):
        return form.boxed.unflatten(column)
    pairs = [x if isinstance(x, Blocks) else Blocks(x, _no_scales(x)) for x in column]
    codes, scales = zip(*pairs, strict=True)
    return Blocks(form.boxed.unflatten(codes), form.pure.unflatten(scales))


def take(value: Any, slot: Any, form: Form) -> list:
    """The slot of each leaf, as `put` was given it."""
    if isinstance(value, Queue):
        rows = [take(None, tree, form) for tree in slot]
        return [
            tuple(row[place] for row in rows) for place in range(form.boxed.num_leaves)
        ]
    if value is PER_LAYER or isinstance(value, PerUnit):
        return form.pure.flatten_up_to(slot)
    if not isinstance(slot, Blocks):
        return form.boxed.flatten_up_to(slot)
    codes = form.boxed.flatten_up_to(slot.codes)
    pairs = zip(codes, form.pure.flatten_up_to(slot.scales), strict=True)
    return [code if is_hole(scale) else Blocks(code, scale) for code, scale in pairs]


def _no_scales(x: Any) -> Any:
    return x if is_hole(x) else MaskedNode()
