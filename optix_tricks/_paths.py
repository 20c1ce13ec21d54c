"""The names of parameters: the framework's own paths, without the boxes around arrays.

A box is a node that holds one array and what is to be known of it: `nnx.Variable`,
linen's `Partitioned`. Its part of the key path (`value`) is no part of the parameter's
name, so that a name is the same whether the tree is boxed or pure. Boxes are known by
what flax asks of them, without importing it.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import optax
from jax.tree_util import DictKey, FlattenedIndexKey
from jax.typing import ArrayLike

PyTree = Any
Whole = Annotated[int, "of any size"]  # other whole numbers have 32 bits, as in JAX
Number = Annotated[ArrayLike, "one number"]  # an array has no axes then
Arrays = Annotated[Any, "a tree of arrays"]
Examples = Annotated[Any, "a tree of arrays with a first axis"]


class Leaf(NamedTuple):
    """A leaf of a tree under its name."""

    name: str  # "block/0/kernel"
    value: Any
    owner: str  # class of the node that holds it: "dict", "LayerNorm"

    @property
    def shape(self) -> tuple[int, ...]:
        """That of an array; nothing else has one."""
        return getattr(self.value, "shape", ())


def is_hole(x: Any) -> bool:
    """Tell whether `x` stands for a leaf that is not there: None, or a wrapper's mask."""
    return x is None or isinstance(x, optax.MaskedNode)


def is_box(node: Any) -> bool:
    """Tell whether `node` is a box of flax around one value."""
    return hasattr(type(node), "add_axis") and hasattr(type(node), "remove_axis")


def unbox(tree: PyTree) -> PyTree:
    """Replace each box in `tree` by what it holds."""

    def content(node: Any) -> Any:
        return unbox(_children(node)[0][1]) if is_box(node) else node

    return jax.tree.map(content, tree, is_leaf=is_box)


def path_name(path: tuple) -> str:
    """Write a key path the way people do.

    >>> paths = jax.tree_util.tree_flatten_with_path({"a": [1, {"b": 2}]})[0]
    >>> [path_name(path) for path, _ in paths]
    ['a/0', 'a/1/b']
    """
    return "/".join(part for key in path for part in _parts(key))


def named_leaves(
    tree: PyTree, is_leaf: Callable[[Any], bool] = lambda _: False
) -> list[Leaf]:
    """The leaves of `tree` with their names, in the order of `jax.tree.leaves`.

    >>> [leaf.name for leaf in named_leaves([{("conv", 0): 1}, {"head": [2, None]}])]
    ['0/conv/0', '1/head/0']
    >>> [leaf.name for leaf in named_leaves([1, None, optax.MaskedNode()], is_hole)]
    ['0', '1', '2']
    """
    return list(_walk(tree, (), "", is_leaf))


def map_named(function: Callable[[Leaf], Any], tree: PyTree) -> PyTree:
    """Apply `function` to each leaf with its name.

    >>> map_named(lambda leaf: leaf.name, {"a": 1, "b": [2, None]})
    {'a': 'a', 'b': ['b/0', None]}
    """
    structure = jax.tree.structure(tree)
    return jax.tree.unflatten(structure, map(function, named_leaves(tree)))


def path_numbers(tree: PyTree) -> PyTree:
    """A number for each leaf, made of its name: draws are the same in every form."""
    return map_named(lambda leaf: np.uint32(zlib.crc32(leaf.name.encode())), tree)


def _walk(
    node: Any, parts: tuple[str, ...], owner: str, is_leaf: Callable[[Any], bool]
) -> Iterator[Leaf]:
    children = [] if node is None else _children(node)
    is_itself = bool(children) and not children[0][0]  # no key: there is no way down
    if is_leaf(node) or is_itself:
        yield Leaf("/".join(parts), node, owner)
    elif is_box(node):
        yield from _walk(children[0][1], parts, owner, is_leaf)
    else:
        for (key,), child in children:
            # nnx.FlatState keeps the paths itself; JAX counts its children.
            if isinstance(key, FlattenedIndexKey) and hasattr(node, "paths"):
                key = DictKey(node.paths[key.key])
            below = (*parts, *_parts(key))
            yield from _walk(child, below, type(node).__name__, is_leaf)


def _children(node: Any) -> list[tuple[tuple, Any]]:
    return jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)[0]


def _parts(key: Any) -> list[str]:
    # Flattened dicts have whole paths for keys: ("conv", "kernel").
    if isinstance(key, DictKey) and isinstance(key.key, tuple):
        return [str(part) for part in key.key]
    return [jax.tree_util.keystr((key,), simple=True)]
