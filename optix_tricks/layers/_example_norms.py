"""Norms of one example: those of flax, in float32 throughout and without cancellation."""

from typing import Any

from flax import nnx

from optix_tricks._checks import check_count


def _as_they_are(arrays: tuple, *, dtype: Any) -> tuple:
    """Leave the parameters their dtype; flax rounds them to that of the output."""
    del dtype
    return arrays


PRECISE: dict[str, Any] = {"use_fast_variance": False, "promote_dtype": _as_they_are}


class LayerNorm(nnx.LayerNorm):
    """Normalise the features at each position of each example.

        y = γ (x - μ) / sqrt(σ² + ε) + β,    μ and σ² over the last axis

    `nnx.LayerNorm` with two other defaults. Its variance is E[x²] - E[x]², which cancels:
    at a mean of 1000 standard deviations the output is off by 20 % in float32, at 3000 by
    a factor of hundreds; here it is E[(x - μ)²]. And with a 16-bit `dtype` γ and β stay
    float32, where flax rounds them. Otherwise the same, ε = 1e-6 too (PyTorch: 1e-5).

    Helps transformers and recurrent networks, and any batch size: training and evaluation
    are the same. Hurts convolutional networks, whose channels it ties together: on images
    they do better with `BatchNorm` or `GroupNorm`. Cost: two passes over x.

    Beside others: leave γ and β out of weight decay with `no_bias_or_norm`. Independent
    of devices and of the batch, so that `accumulate` is exact.

    Args:
        num_features: length of the last axis.
        **options: those of `nnx.LayerNorm`.

    Examples:
        >>> import jax.numpy as jnp
        >>> norm = LayerNorm(2, rngs=nnx.Rngs(0))
        >>> print(norm(jnp.array([[4095.0, 4097.0]])).round(5))
        [[-1.  1.]]

    Source: "Layer Normalization", Ba, Kiros and Hinton, 2016.
    """

    def __init__(self, num_features: int, **options: Any):
        check_count("num_features", num_features, minimum=1)
        super().__init__(num_features, **(PRECISE | options))


class RMSNorm(nnx.RMSNorm):
    """Divide the features at each position by their root mean square.

        y = γ x / sqrt(E[x²] + ε),    E over the last axis

    `nnx.RMSNorm` with one other default: with a 16-bit `dtype` γ stays float32, where
    flax rounds it. ε = 1e-6 (PyTorch: the dtype's machine epsilon).

    Helps transformers: as good as `LayerNorm` and cheaper. Hurts where the mean, a common
    offset of the features, must not pass. Cost: one pass for the mean square, one for y.

    Beside others: leave γ out of weight decay with `no_bias_or_norm`. Independent of
    devices and of the batch, so that `accumulate` is exact.

    Args:
        num_features: length of the last axis.
        **options: those of `nnx.RMSNorm`.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(RMSNorm(2, epsilon=0.0, rngs=nnx.Rngs(0))(jnp.array([[1.0, 7.0]])))
        [[0.2 1.4]]

    Source: "Root Mean Square Layer Normalization", Zhang and Sennrich, 2019.
    """

    def __init__(self, num_features: int, **options: Any):
        check_count("num_features", num_features, minimum=1)
        super().__init__(num_features, **(PRECISE | options))


class GroupNorm(nnx.GroupNorm):
    """Normalise groups of features over all positions of each example.

        y = γ (x - μ_g) / sqrt(σ_g² + ε) + β,    μ_g and σ_g² over group g and all pixels

    `nnx.GroupNorm` with the two other defaults of `LayerNorm`: the variance does not
    cancel, γ and β are not rounded. Groups are consecutive features. ε = 1e-6
    (PyTorch: 1e-5).

    Helps convolutional networks with a few examples on a device, where batch statistics
    are noise: a ResNet-50 on ImageNet has a 10.6 % lower error than with batch
    normalisation at two examples a device (Wu and He). Hurts large batches, where
    `BatchNorm` is a little better. Cost: two passes for the statistics, one for y.

    Beside others: the usual partner of `WSConv`. Independent of devices and of the batch,
    so that `accumulate` is exact.

    Args:
        num_features: length of the last axis.
        num_groups: divides it.
        group_size: features in a group, with `num_groups=None`.
        **options: those of `nnx.GroupNorm`.

    Raises:
        ValueError: if the groups do not divide the features.

    Examples:
        >>> import jax.numpy as jnp
        >>> norm = GroupNorm(4, num_groups=2, rngs=nnx.Rngs(0))
        >>> print(norm(jnp.array([[1.0, 3.0, 50.0, 70.0]])).round(3))
        [[-1.  1. -1.  1.]]

    Source: "Group Normalization", Wu and He, 2018, with 32 groups.
    """

    def __init__(
        self,
        num_features: int,
        num_groups: int | None = 32,
        group_size: int | None = None,
        **options: Any,
    ):
        for name, size in (("num_groups", num_groups), ("group_size", group_size)):
            if size is not None and (size < 1 or num_features % size):
                raise ValueError(
                    f"{name} must divide num_features, {num_features}, got {size}."
                )
        super().__init__(num_features, num_groups, group_size, **(PRECISE | options))


class InstanceNorm(nnx.InstanceNorm):
    """Normalise each feature over all positions of each example.

        y = γ (x - μ_c) / sqrt(σ_c² + ε) + β,    μ_c and σ_c² over the pixels of feature c

    `nnx.InstanceNorm` with the two other defaults of `LayerNorm`: the variance does not
    cancel, γ and β are not rounded. ε = 1e-6 (PyTorch: 1e-5, and no γ and β unless told).

    Helps style transfer and image generation, where contrast should not matter. Hurts
    classification, which loses each feature's mean. Cost: two passes for the statistics,
    one for y.

    Beside others: independent of devices and of the batch, so that `accumulate` is exact.

    Args:
        num_features: length of the last axis.
        **options: those of `nnx.InstanceNorm`.

    Examples:
        >>> import jax.numpy as jnp
        >>> norm = InstanceNorm(1, rngs=nnx.Rngs(0))
        >>> print(norm(jnp.array([[[1.0], [3.0]], [[50.0], [70.0]]])).round(3)[..., 0])
        [[-1.  1.]
         [-1.  1.]]

    Source: "Instance Normalization: The Missing Ingredient for Fast Stylization",
    Ulyanov, Vedaldi and Lempitsky, 2016.
    """

    def __init__(self, num_features: int, **options: Any):
        check_count("num_features", num_features, minimum=1)
        super().__init__(num_features, **(PRECISE | options))
