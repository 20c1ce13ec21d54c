"""Trees of arrays as nnx modules."""

from typing import Any

import jax.numpy as jnp
from flax import nnx


class Node(nnx.Module):
    """A module from a dict of arrays; a list, or a dict that counts from 0, is a list.

    >>> Node({"head": [jnp.zeros(2)], "gain": 1.0}).head[0].shape
    (2,)
    """

    def __init__(self, tree: dict) -> None:
        for name, x in tree.items():
            setattr(self, str(name), _boxed(x))


def _boxed(x: Any) -> Any:
    if isinstance(x, dict) and 0 in x:
        x = list(x.values())
    if isinstance(x, dict):
        return Node(x)
    if isinstance(x, list):
        return nnx.List([_boxed(y) for y in x])
    return nnx.Param(jnp.asarray(x))
