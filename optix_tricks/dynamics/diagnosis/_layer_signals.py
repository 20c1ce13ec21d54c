"""What goes forward and backward through each layer of a model."""

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree, check_arrays
from optix_tricks.layers import layer_outputs, named_layers


class LayerSignal(NamedTuple):
    """Of one layer, in one forward and backward pass."""

    output: Array  # y_l, its bias included
    gradient: Array  # ∂loss/∂y_l, of the same shape
    weights: PyTree  # the layer's own parameters
    weight_gradients: PyTree  # of the same structure


def called_layers(
    model: nnx.Module, *args: Any, **kwargs: Any
) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the outputs' shapes of the layers that a call reaches, in its order."""
    graph, state = nnx.split(model)
    shapes: dict[str, jax.ShapeDtypeStruct] = {}

    def forward(state: PyTree) -> None:
        module = nnx.merge(graph, state, copy=True)
        _, outputs = layer_outputs(module, *args, **kwargs)
        for path, y in outputs.items():
            shapes[path] = jax.ShapeDtypeStruct(y.shape, y.dtype)

    jax.eval_shape(forward, state)
    return shapes


def read_layers(
    read: Callable[[LayerSignal], Any],
    model: nnx.Module,
    x: PyTree,
    *,
    loss: Callable[[Any], Float[Array, ""]],
    **kwargs: Any,
) -> tuple[tuple[str, ...], Any]:
    """Reduce each layer's signals by `read`, and stack them in the order of the calls.

    The model is not changed, its batch statistics included. What `read` does not use is
    not computed. Models of one structure share a compilation, as long as `read` and
    `loss` are the same function objects.

    Returns:
        Paths of the layers, and what `read` returned with a leading axis of layers.
    """
    check_arrays("model", nnx.to_pure_dict(nnx.state(model)))
    graph, params, *rest = nnx.split(model, nnx.Param, ...)
    fixed = {name: value for name, value in kwargs.items() if _is_plain(value)}
    traced = {name: value for name, value in kwargs.items() if name not in fixed}
    setting = read, loss, graph, tuple(fixed.items())
    rows = _measured(*setting, params, rest, x, traced)
    return tuple(rows), jax.tree.map(lambda *row: jnp.stack(row), *rows.values())


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


@functools.partial(jax.jit, static_argnums=range(4))
def _measured(
    read: Callable[[LayerSignal], Any],
    loss: Callable[[Any], Float[Array, ""]],
    graph: Any,
    fixed: tuple[tuple[str, Any], ...],
    params: Arrays,
    rest: PyTree,
    x: PyTree,
    traced: dict[str, Any],
) -> OrderedDict[str, Any]:
    """What `read` makes of each layer, in the order of the calls."""
    kwargs = dict(fixed) | traced

    shapes = called_layers(nnx.merge(graph, params, *rest, copy=True), x, **kwargs)

    def objective(
        shifts: dict[str, Array], params: Arrays
    ) -> tuple[Array, dict[str, Array]]:
        module = nnx.merge(graph, params, *rest, copy=True)
        for path, layer in named_layers(module).items():
            if path in shifts:
                _shift(layer, path, shifts[path])
        y, outputs = layer_outputs(module, x, **kwargs)
        value = loss(y)
        if jnp.shape(value) != ():
            raise ValueError(
                f"loss must return one number, got an array of shape {value.shape}."
            )
        return value, outputs

    shifts = {path: jnp.zeros(y.shape, y.dtype) for path, y in shapes.items()}
    (gradients, by_params), outputs = jax.grad(objective, argnums=(0, 1), has_aux=True)(
        shifts, params
    )
    weights, weight_gradients = (
        {
            path: nnx.to_pure_dict(nnx.state(layer, nnx.Param))
            for path, layer in named_layers(
                nnx.merge(graph, tree, *rest, copy=True)
            ).items()
        }
        for tree in (params, by_params)
    )
    return OrderedDict(
        (
            path,
            read(
                LayerSignal(
                    outputs[path], gradients[path], weights[path], weight_gradients[path]
                )
            ),
        )
        for path in shapes
    )


def _shift(layer: nnx.Module, path: str, shift: Array) -> None:
    """Give this one object a class that adds `shift` to what a call returns."""
    kind = type(layer)

    def call(self: Any, *args: Any, **kwargs: Any) -> Array:
        y = kind.__call__(self, *args, **kwargs)
        if y.shape != shift.shape:
            raise ValueError(
                f"model must call its layer {path!r} at one size, got outputs of shapes"
                f" {list(y.shape)} and {list(shift.shape)}."
            )
        return y + shift

    shifted = type(kind.__name__, (kind,), {"__call__": call})
    object.__setattr__(layer, "__class__", shifted)
