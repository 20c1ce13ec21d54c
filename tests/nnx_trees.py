"""Trees of arrays as nnx modules."""

import jax.numpy as jnp
from flax import nnx


class Node(nnx.Module):
    """A module from a dict of arrays."""

    def __init__(self, tree):
        for name, x in tree.items():
            is_list = isinstance(x, dict) and 0 in x
            made = nnx.List(map(Node, x.values())) if is_list else boxed(x)
            setattr(self, str(name), made)


def boxed(x):
    return Node(x) if isinstance(x, dict) else nnx.Param(jnp.asarray(x))
