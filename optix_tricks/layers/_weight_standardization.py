"""A convolution whose kernel has zero mean and unit variance."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from optix_tricks._checks import check_count, check_positive
from optix_tricks.layers._kernel import replaced, widened


class WSConv(nnx.Conv):
    """A convolution whose kernel is standardised over each output channel's fan-in.

        w = (k - μ) / √(σ² + ε),    and with `scaled`    w = γ (k - μ) / √(N (σ² + ε))

    k is the parameter `kernel`, μ and σ² its mean and variance over the N weights of a
    channel. γ is the parameter `gain`, one a channel, first 1: with it a unit's output
    has the variance of its inputs, as nets without normalisation layers need. Computed in
    float32, or in float64 for a float64 kernel. The kernel stays what the optimiser made
    it; its scale and its mean change nothing.

    Helps small batches, where it stands before group normalisation; `scaled` helps nets
    without normalisation, behind activations of unit variance. Does little under batch
    normalisation of large batches. Hurts without any normalisation and without `scaled`:
    outputs are √N times their inputs, layer by layer. Cost: two passes over the kernel.

    Beside others: scale and mean of the kernel change nothing, so that weight decay acts
    through the effective learning rate alone, and an initialiser's scale not at all. Nets
    with `scaled` are trained with `adaptive_grad_clip`.

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: as `nnx.Conv` takes it.
        strides: as `nnx.Conv` takes it.
        scaled: divide by √N and multiply by a trained gain.
        epsilon: ε, added to the variance.
        rngs: for the first kernel.
        **options: the others of `nnx.Conv`. Its `mask` is applied to w.

    Raises:
        ValueError: if a channel's fan-in N is 1, as its only weight is its mean, or
            `epsilon` is not positive.

    Examples:
        >>> conv = WSConv(3, 8, (3, 3), use_bias=False, rngs=nnx.Rngs(0))
        >>> conv(jnp.ones((1, 5, 5, 3))).shape
        (1, 5, 5, 8)

    Source: "Weight Standardization", Qiao et al., 2019; `scaled`: "Characterizing Signal
    Propagation to Close the Performance Gap in Unnormalized ResNets", Brock et al., 2021,
    where the gain begins at 1 too. The sources differ in where ε stands.
    """

    computes_kernel = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        scaled: bool = False,
        epsilon: float = 1e-6,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        check_positive("epsilon", epsilon)
        check_count("in_features", in_features, minimum=1)
        check_count("out_features", out_features, minimum=1)
        super().__init__(
            in_features, out_features, kernel_size, strides, rngs=rngs, **options
        )
        self.fan_in = math.prod(self.kernel_shape[:-1])
        if self.fan_in < 2:
            raise ValueError(
                "kernel_size and in_features must give a fan-in of at least 2, got"
                f" {self.fan_in}: a kernel of shape {list(self.kernel_shape)}."
            )
        self.epsilon = epsilon
        ones = jnp.ones(out_features, self.kernel.dtype)
        self.gain = nnx.Param(ones) if scaled else nnx.data(None)

    def __call__(self, inputs: Array, out_sharding: Any = None) -> Array:
        """Return the convolution with w."""
        kernel = widened(self.kernel)
        fan_in_axes = tuple(range(kernel.ndim - 1))
        centred = kernel - jnp.mean(kernel, axis=fan_in_axes, keepdims=True)
        variance = jnp.mean(centred**2, axis=fan_in_axes, keepdims=True)
        w = centred / jnp.sqrt(variance + self.epsilon)
        if self.gain is not None:
            gain = widened(self.gain).reshape(variance.shape)
            w = gain * w / math.sqrt(self.fan_in)
        return nnx.Conv.__call__(replaced(self, kernel=w), inputs, out_sharding)
