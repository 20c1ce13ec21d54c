"""The blocks of residual networks: a convolution with its norm, basic and bottleneck.

`conv` and `norm` make the layers, `norm=functools.partial(GroupNorm, num_groups=8)`; any
convolution and any norm will do that keeps to the contract of `parts`. The parameters and
statistics of norms are float32, whatever `dtype` the activations and `param_dtype` the
kernels have.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array

from optix_tricks._checks import check_count
from optix_tricks.layers import BatchNorm, DropPath, LayerScale
from optix_tricks.training._parts import Part, call_norm, make_norm, make_part

he_normal_fan_out = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


class ConvNorm(nnx.Module):
    """A convolution without bias, then a normalisation."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        stride: int = 1,
        scale_init: Callable[..., Any] = nnx.initializers.ones,
        kernel_init: Callable[..., Any] = he_normal_fan_out,
        conv: Part = nnx.Conv,
        norm: Part = BatchNorm,
        dtype: DTypeLike,
        param_dtype: DTypeLike = jnp.float32,
        axis_name: str | None,
        rngs: nnx.Rngs,
    ):
        self.conv = make_part(
            "conv",
            conv,
            in_features,
            out_features,
            (kernel_size, kernel_size),
            strides=stride,
            padding=kernel_size // 2,
            use_bias=False,
            kernel_init=kernel_init,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.norm = make_norm(
            norm,
            out_features,
            of_batches={"momentum": 0.9, "epsilon": 1e-5, "axis_name": axis_name},
            scale_init=scale_init,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, x: Array, *, train: bool) -> Array:
        """Return the features."""
        return call_norm(self.norm, self.conv(x), train=train)


def _check_sizes(in_features: int, width: int, stride: int) -> None:
    check_count("in_features", in_features, minimum=1)
    check_count("width", width, minimum=1)
    check_count("stride", stride, minimum=1)


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut (He et al., 2016, figure 5 left)."""

    expansion = 1

    def __init__(
        self,
        in_features: int,
        width: int,
        *,
        stride: int,
        last_scale: Callable[..., Any],
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        **options: Any,
    ):
        _check_sizes(in_features, width, stride)
        self.conv1 = ConvNorm(in_features, width, 3, stride=stride, **options)
        self.conv2 = ConvNorm(width, width, 3, scale_init=last_scale, **options)
        self.scale = _scale(width, layer_scale)
        self.shortcut = _shortcut(in_features, width, stride, options)
        self.drop = DropPath(drop_path, rngs=options["rngs"] if drop_path else None)

    def __call__(self, x: Array, *, train: bool) -> Array:
        """Return the features."""
        y = self.conv2(nnx.relu(self.conv1(x, train=train)), train=train)
        skip = x if self.shortcut is None else self.shortcut(x, train=train)
        y = y if self.scale is None else self.scale(y)
        return nnx.relu(skip + self.drop(y, deterministic=not train))


class BottleneckBlock(nnx.Module):
    """1x1, 3x3, 1x1 and a shortcut; the stride is in the 3x3 ("v1.5")."""

    expansion = 4

    def __init__(
        self,
        in_features: int,
        width: int,
        *,
        stride: int,
        last_scale: Callable[..., Any],
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        **options: Any,
    ):
        _check_sizes(in_features, width, stride)
        out_features = width * self.expansion
        self.conv1 = ConvNorm(in_features, width, 1, **options)
        self.conv2 = ConvNorm(width, width, 3, stride=stride, **options)
        self.conv3 = ConvNorm(width, out_features, 1, scale_init=last_scale, **options)
        self.scale = _scale(out_features, layer_scale)
        self.shortcut = _shortcut(in_features, out_features, stride, options)
        self.drop = DropPath(drop_path, rngs=options["rngs"] if drop_path else None)

    def __call__(self, x: Array, *, train: bool) -> Array:
        """Return the features."""
        y = nnx.relu(self.conv1(x, train=train))
        y = self.conv3(nnx.relu(self.conv2(y, train=train)), train=train)
        skip = x if self.shortcut is None else self.shortcut(x, train=train)
        y = y if self.scale is None else self.scale(y)
        return nnx.relu(skip + self.drop(y, deterministic=not train))


def _scale(features: int, init_value: float | None) -> LayerScale | None:
    return None if init_value is None else LayerScale(features, init_value)


def _shortcut(in_features: int, out_features: int, stride: int, options: dict) -> Any:
    if stride == 1 and in_features == out_features:
        return None
    return ConvNorm(in_features, out_features, 1, stride=stride, **options)
