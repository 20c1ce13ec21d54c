"""Variances of activations and gradients over the depth of a model."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from optix_tricks._tree import PyTree, widen
from optix_tricks.layers import layer_outputs, named_layers


class DepthVariance(NamedTuple):
    """Variances of a model's layers, in the order of their calls."""

    paths: tuple[str, ...]
    activation: Float[Array, " layers"]  # of each layer's output
    gradient: Float[Array, " layers"]  # of the loss's gradient by that output


def variance(x: Array) -> Float[Array, ""]:
    """Variance over all elements, in float32 or wider."""
    return jnp.var(widen(x))


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


def variance_by_depth(
    model: nnx.Module,
    x: PyTree,
    *,
    loss: Callable[[Any], Float[Array, ""]],
    **kwargs: Any,
) -> DepthVariance:
    """Measure how activations and gradients grow or vanish through a model.

        activation_l = Var y_l,    gradient_l = Var ∂loss/∂y_l

    y_l is the output of the l-th convolution or linear layer, its bias included; the
    variances are over its whole array. Those of the gradient carry the scale of the
    loss (an average over n examples divides them by n²): what tells is how they change
    with l. The model is not changed, its batch statistics included.

    Helps to see why a deep net does not start: variances should neither grow nor
    vanish by orders of magnitude from one end to the other. Does little for nets with a
    norm in every layer, whose scale it hides. Cost: one compilation, one forward and
    one backward pass; the outputs' gradients are kept in memory.

    Args:
        model: any module.
        x: a batch, its first argument.
        loss: of the model's output, a scalar.
        **kwargs: of the model's call, such as `train=True`.

    Returns:
        Paths and variances. A layer that is called twice shows its last output, and the
        gradient by both.

    Raises:
        ValueError: if the model has no convolution or linear layer, or calls one at
            two sizes.

    Examples:
        >>> layers = [nnx.Linear(64, 64, rngs=nnx.Rngs(i)) for i in range(3)]
        >>> x = jax.random.normal(jax.random.key(3), (256, 64))
        >>> paths, *_ = variance_by_depth(nnx.Sequential(*layers), x, loss=jnp.sum)
        >>> print(*paths)
        layers.0 layers.1 layers.2

    Source: "Understanding the Difficulty of Training Deep Feedforward Neural Networks",
    Glorot and Bengio, 2010, section 4.2.
    """
    shapes = called_layers(model, x, **kwargs)
    graph, state = nnx.split(model)

    @jax.jit
    def measure(state: PyTree, x: PyTree) -> tuple[Array, Array]:
        def objective(shifts: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
            module = nnx.merge(graph, state, copy=True)
            for path, layer in named_layers(module).items():
                if path in shifts:
                    _shift(layer, path, shifts[path])
            y, outputs = layer_outputs(module, x, **kwargs)
            return loss(y), outputs

        shifts = {path: jnp.zeros(y.shape, y.dtype) for path, y in shapes.items()}
        gradients, outputs = jax.grad(objective, has_aux=True)(shifts)
        return (
            jnp.stack([variance(outputs[path]) for path in shapes]),
            jnp.stack([variance(gradients[path]) for path in shapes]),
        )

    return DepthVariance(tuple(shapes), *measure(state, x))


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
