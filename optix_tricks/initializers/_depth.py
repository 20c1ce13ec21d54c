"""Variances of activations and gradients over the depth of a model."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from optix_tricks._paths import Examples
from optix_tricks._tree import widen
from optix_tricks.dynamics.diagnosis._layer_signals import read_layers


class DepthVariance(NamedTuple):
    """Variances of a model's layers, in the order of their calls."""

    paths: tuple[str, ...]
    activation: Float[Array, " layers"]  # of each layer's output
    gradient: Float[Array, " layers"]  # of the loss's gradient by that output


def variance(x: Array) -> Float[Array, ""]:
    """Variance over all elements, in float32 or wider."""
    return jnp.var(widen(x))


def variance_by_depth(
    model: nnx.Module,
    x: Examples,
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
    norm in every layer, whose scale it hides: `dynamics.layer_profile` shows more.
    Cost: one compilation, one forward and one backward pass; the outputs' gradients are
    kept in memory.

    Beside others: run it before and after `lsuv`.

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
        >>> x = nnx.Rngs(3).normal((256, 64))
        >>> paths, *_ = variance_by_depth(nnx.Sequential(*layers), x, loss=jnp.sum)
        >>> print(*paths)
        layers.0 layers.1 layers.2

    Source: "Understanding the Difficulty of Training Deep Feedforward Neural Networks",
    Glorot and Bengio, 2010, section 4.2.
    """
    paths, measured = read_layers(
        lambda layer: (variance(layer.output), variance(layer.gradient)),
        model,
        x,
        loss=loss,
        **kwargs,
    )
    return DepthVariance(paths, *measured)
