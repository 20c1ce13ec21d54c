"""A kernel as direction and length."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from optix_tricks._checks import check_positive
from optix_tricks.layers._kernel import kernel_of, replaced, widened


class WeightNorm(nnx.Module):
    """Wrap a layer: its kernel is a trained direction times a trained length.

        w = g v / ||v||,    ||v|| = √(Σ v² + ε)

    with a length g and a norm for each output unit. v is the layer's parameter `kernel`
    and stays what the optimiser made it; g is the parameter `scale` and begins as ||v||,
    so that the wrapped layer begins as the layer was. The gradients are

        ∇_g = ∇_w · v / ||v||,    ∇_v = (g / ||v||) (∇_w - ∇_g v / ||v||)

    so v only turns, its norm grows step by step, and its effective learning rate falls.
    Computed in float32, or in float64 for a float64 kernel. A unit whose kernel is zero
    begins as zero and trains.

    Differs from `nnx.WeightNorm`, which writes w into the layer's parameter at each call,
    so that the optimiser steps from there, and begins with g = 1: after three steps of
    SGD with momentum on a linear layer its w is 26 % (flax 0.12.8) or 6 % (0.12.12) off
    the float64 formula, which had moved by 21 %; here by a rounding. PyTorch's begins as
    this one.

    Helps nets without batch normalisation: small batches, recurrent nets, reinforcement
    learning. Does little under batch normalisation, which takes g out again. The gradient
    of g is then zero. Cost: one pass over the kernel, and a number for each output.

    Beside others: weight decay on v changes only how fast it turns; `no_bias_or_norm`
    leaves g, called `scale`, undecayed. The paper sets g and the bias from a first batch:
    to do so, run `optix_tricks.initializers.lsuv` before wrapping, as g takes over what
    it finds.

    Args:
        layer: any with a parameter `kernel`, such as `nnx.Linear` and `nnx.Conv`.
        feature_axes: the axes of the kernel that keep a length of their own; None for
            one length of the whole kernel.
        epsilon: ε, added to the squared norm.
        rngs: not used; the argument is that of `nnx.WeightNorm`.

    Raises:
        ValueError: if the layer has no kernel or, as `WSConv`, computes another from it,
            `feature_axes` are not distinct axes of it, or `epsilon` is not positive.

    Examples:
        >>> layer = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        >>> normed = WeightNorm(layer)
        >>> x = jnp.ones((1, 3))
        >>> bool(jnp.allclose(normed(x), layer(x)))
        True
        >>> normed.scale[...] *= 2
        >>> bool(jnp.allclose(normed(x), 2 * layer(x)))
        True

    Source: "Weight Normalization: A Simple Reparameterization to Accelerate Training of
    Deep Neural Networks", Salimans and Kingma, 2016, equations 2 and 3.
    """

    def __init__(
        self,
        layer: nnx.Module,
        *,
        feature_axes: int | Sequence[int] | None = -1,
        epsilon: float = 1e-12,
        rngs: nnx.Rngs | None = None,
    ):
        check_positive("epsilon", epsilon)
        kernel = kernel_of(layer)
        features = _canonical(feature_axes, kernel.ndim)
        self.layer: Any = layer
        self.epsilon = epsilon
        self.reduced_axes = tuple(set(range(kernel.ndim)) - set(features))
        norm = self._norm(widened(kernel))
        shape = [kernel.shape[axis] for axis in features]
        self.scale = nnx.Param(norm.reshape(shape).astype(kernel.dtype))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the layer does with the kernel w."""
        v = widened(self.layer.kernel)
        norm = self._norm(v)
        w = widened(self.scale).reshape(norm.shape) * (v / norm)
        return replaced(self.layer, kernel=w)(*args, **kwargs)

    def _norm(self, v: Array) -> Array:
        squares = jnp.sum(v**2, axis=self.reduced_axes, keepdims=True)
        return jnp.sqrt(squares + self.epsilon)


def _canonical(axes: int | Sequence[int] | None, rank: int) -> list[int]:
    given = () if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    inside = all(-rank <= axis < rank for axis in given)
    found = sorted({axis % rank for axis in given})
    if not inside or len(found) != len(given):
        raise ValueError(
            f"feature_axes must be distinct axes of a kernel of rank {rank},"
            f" got {axes!r}."
        )
    return found
