"""Layers whose kernel is computed from their parameter when they are called."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from optix_tricks._tree import check_arrays, wide_dtype


def kernel_of(layer: Any) -> nnx.Param:
    """Return the parameter by which a layer multiplies, or raise if there is none."""
    if getattr(layer, "computes_kernel", False):
        raise ValueError(
            f"layer must multiply by its parameter `kernel`, got {type(layer).__name__},"
            " which computes another one from it."
        )
    kernel = getattr(layer, "kernel", None)
    if not isinstance(kernel, nnx.Param) or kernel.ndim < 2:
        raise ValueError(
            "layer must have a parameter `kernel` of two or more axes, as nnx.Linear and"
            f" nnx.Conv have, got {type(layer).__name__}."
        )
    check_arrays("layer", {"kernel": kernel.get_value()})
    return kernel


def widened(parameter: nnx.Variable) -> Array:
    """Return a variable's value in float32, or in float64 if it is that."""
    value = jnp.asarray(parameter[...])
    return value.astype(wide_dtype(value.dtype))


def replaced(layer: Any, **values: jax.Array) -> Any:
    """Return a view of a layer in which parameters have other values.

    The layer stays as it is: what was computed from its parameters is never written into
    them. Variables that are not replaced are the layer's own.
    """
    view = nnx.view(layer)
    for name, value in values.items():
        parameter = getattr(layer, name)
        setattr(view, name, parameter.replace(value.astype(parameter.dtype)))
    return view
