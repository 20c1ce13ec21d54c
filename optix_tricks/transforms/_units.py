"""Units: the weights from which one output of a layer is computed."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._tree import safe_sqrt


def unit_axes(x: Any) -> tuple[int, ...]:
    """Return the axes of one unit: all but the last; a vector or scalar is one unit.

    Flax keeps the outputs of a layer on the last axis: Dense [in, out], Conv
    [height, width, in, out].
    """
    return tuple(range(x.ndim - 1 if x.ndim >= 2 else x.ndim))


def unit_norm(x: Array, axes: int | tuple[int, ...] | None = None) -> Array:
    """Euclidean norm of each unit, the axes kept with length 1.

    >>> print(unit_norm(jnp.array([[3.0, 1.0], [4.0, 0.0]])))
    [[5. 1.]]
    """
    axes = unit_axes(x) if axes is None else axes
    return safe_sqrt(jnp.sum(jnp.square(x), axis=axes, keepdims=True))
