"""Residual networks in flax.nnx: ResNet-18, -34, -50, and Page's ResNet-9.

Images are [batch, height, width, channel]. Parameters are float32; `dtype` is the one of
activations. Batch statistics are always gathered in float32.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

he_normal_fan_out = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


class ConvNorm(nnx.Module):
    """A convolution without bias, then batch normalisation."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        stride: int = 1,
        scale_init: Any = nnx.initializers.ones,
        kernel_init: Any = he_normal_fan_out,
        dtype: Any,
        axis_name: str | None,
        rngs: nnx.Rngs,
    ):
        self.conv = nnx.Conv(
            in_features,
            out_features,
            (kernel_size, kernel_size),
            strides=stride,
            padding=kernel_size // 2,
            use_bias=False,
            kernel_init=kernel_init,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(
            out_features,
            momentum=0.9,
            epsilon=1e-5,
            scale_init=scale_init,
            dtype=dtype,
            axis_name=axis_name,
            rngs=rngs,
        )

    def __call__(self, x: Array, *, train: bool) -> Array:
        """Return the features."""
        return self.norm(self.conv(x), use_running_average=not train)


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut (He et al., 2016, figure 5 left)."""

    expansion = 1

    def __init__(
        self,
        in_features: int,
        width: int,
        *,
        stride: int,
        last_scale: Any,
        **options: Any,
    ):
        self.conv1 = ConvNorm(in_features, width, 3, stride=stride, **options)
        self.conv2 = ConvNorm(width, width, 3, scale_init=last_scale, **options)
        self.shortcut = _shortcut(in_features, width, stride, options)

    def __call__(self, x: Array, *, train: bool) -> Array:
        """Return the features."""
        y = self.conv2(nnx.relu(self.conv1(x, train=train)), train=train)
        skip = x if self.shortcut is None else self.shortcut(x, train=train)
        return nnx.relu(skip + y)


class BottleneckBlock(nnx.Module):
    """1x1, 3x3, 1x1 and a shortcut; the stride is in the 3x3 ("v1.5")."""

    expansion = 4

    def __init__(
        self,
        in_features: int,
        width: int,
        *,
        stride: int,
        last_scale: Any,
        **options: Any,
    ):
        out_features = width * self.expansion
        self.conv1 = ConvNorm(in_features, width, 1, **options)
        self.conv2 = ConvNorm(width, width, 3, stride=stride, **options)
        self.conv3 = ConvNorm(width, out_features, 1, scale_init=last_scale, **options)
        self.shortcut = _shortcut(in_features, out_features, stride, options)

    def __call__(self, x: Array, *, train: bool) -> Array:
        """Return the features."""
        y = nnx.relu(self.conv1(x, train=train))
        y = self.conv3(nnx.relu(self.conv2(y, train=train)), train=train)
        skip = x if self.shortcut is None else self.shortcut(x, train=train)
        return nnx.relu(skip + y)


def _shortcut(in_features: int, out_features: int, stride: int, options: dict) -> Any:
    if stride == 1 and in_features == out_features:
        return None
    return ConvNorm(in_features, out_features, 1, stride=stride, **options)


class ResNet(nnx.Module):
    """A residual network of four stages.

    Args:
      num_classes: number of logits.
      stages: blocks of each stage.
      block: `BasicBlock` or `BottleneckBlock`.
      width: channels of the first stage; doubled from stage to stage.
      in_channels: channels of the images.
      stem: "imagenet", a 7x7 convolution of stride 2 and a 3x3 max-pool of stride 2, or
        "cifar", one 3x3 convolution, for images of about 32 pixels.
      zero_init_last_gamma: start the scale of each branch's last normalisation at zero,
        so that every block starts as the identity (Goyal et al., 2017).
      dtype: of activations: float32 or bfloat16. Logits are always float32.
      axis_name: the axis over which `pmap` or `shard_map` splits the batch; batch
        statistics are then those of the whole batch. Not needed under `jit`.
      rngs: for the initial kernels (He normal, fan out).

    References:
      He et al., Deep residual learning for image recognition, 2016.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        stages: Sequence[int],
        block: type[BasicBlock] | type[BottleneckBlock],
        width: int = 64,
        in_channels: int = 3,
        stem: str = "imagenet",
        zero_init_last_gamma: bool = True,
        dtype: Any = jnp.float32,
        axis_name: str | None = None,
        rngs: nnx.Rngs,
    ):
        if stem not in ("imagenet", "cifar"):
            raise ValueError(f"stem must be 'imagenet' or 'cifar', got {stem!r}.")
        options = {"dtype": dtype, "axis_name": axis_name, "rngs": rngs}
        last_scale = (
            nnx.initializers.zeros if zero_init_last_gamma else nnx.initializers.ones
        )
        self.imagenet_stem = stem == "imagenet"
        self.dtype = dtype
        kernel, stride = (7, 2) if self.imagenet_stem else (3, 1)
        self.stem = ConvNorm(in_channels, width, kernel, stride=stride, **options)
        self.block_names = []
        features = width
        for stage, blocks in enumerate(stages):
            for i in range(blocks):
                name = f"stage{stage + 1}_block{i + 1}"
                stage_width = width * 2**stage
                made = block(
                    features,
                    stage_width,
                    stride=2 if stage > 0 and i == 0 else 1,
                    last_scale=last_scale,
                    **options,
                )
                setattr(self, name, made)
                self.block_names.append(name)
                features = stage_width * block.expansion
        self.head = nnx.Linear(features, num_classes, dtype=jnp.float32, rngs=rngs)

    def __call__(
        self, images: Float[Array, "batch height width channel"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Return float32 logits; `train` uses and updates batch statistics."""
        x = nnx.relu(self.stem(images.astype(self.dtype), train=train))
        if self.imagenet_stem:
            x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for name in self.block_names:
            x = getattr(self, name)(x, train=train)
        return self.head(jnp.mean(x.astype(jnp.float32), axis=(1, 2)))


ResNet18 = functools.partial(ResNet, stages=(2, 2, 2, 2), block=BasicBlock)
ResNet34 = functools.partial(ResNet, stages=(3, 4, 6, 3), block=BasicBlock)
ResNet50 = functools.partial(ResNet, stages=(3, 4, 6, 3), block=BottleneckBlock)


class ResNet9(nnx.Module):
    """David Page's network for CIFAR-10: eight convolutions and a linear head.

    prep - layer 1 (pool, residual of two) - layer 2 (pool) - layer 3 (pool, residual of
    two) - global max-pool - linear x 1/8; widths w, 2w, 4w, 8w. 6.57 M parameters at
    width 64. Pooling stands before the ReLU, which commutes with it, as it leaves less
    to do. Images of at least 8x8 pixels.

    Args:
      num_classes: number of logits.
      width: channels of the first convolution.
      in_channels: channels of the images.
      dtype: of activations: float32 or bfloat16. Logits are always float32.
      axis_name: see `ResNet`.
      rngs: for the initial kernels (LeCun normal).

    References:
      Page, How to train your ResNet, 2018; network of `dawn.py`.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 64,
        in_channels: int = 3,
        dtype: Any = jnp.float32,
        axis_name: str | None = None,
        rngs: nnx.Rngs,
    ):
        conv: Callable[..., ConvNorm] = functools.partial(
            ConvNorm,
            kernel_size=3,
            kernel_init=nnx.initializers.lecun_normal(),
            dtype=dtype,
            axis_name=axis_name,
            rngs=rngs,
        )
        self.dtype = dtype
        self.prep = conv(in_channels, width)
        self.layer1 = conv(width, 2 * width)
        self.layer1_residual1 = conv(2 * width, 2 * width)
        self.layer1_residual2 = conv(2 * width, 2 * width)
        self.layer2 = conv(2 * width, 4 * width)
        self.layer3 = conv(4 * width, 8 * width)
        self.layer3_residual1 = conv(8 * width, 8 * width)
        self.layer3_residual2 = conv(8 * width, 8 * width)
        self.head = nnx.Linear(
            8 * width, num_classes, use_bias=False, dtype=jnp.float32, rngs=rngs
        )

    def __call__(
        self, images: Float[Array, "batch height width channel"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Return float32 logits; `train` uses and updates batch statistics."""

        def residual(x: Array, first: ConvNorm, second: ConvNorm) -> Array:
            y = nnx.relu(first(x, train=train))
            return x + nnx.relu(second(y, train=train))

        x = nnx.relu(self.prep(images.astype(self.dtype), train=train))
        x = nnx.relu(max_pool_2x2(self.layer1(x, train=train)))
        x = residual(x, self.layer1_residual1, self.layer1_residual2)
        x = nnx.relu(max_pool_2x2(self.layer2(x, train=train)))
        x = nnx.relu(max_pool_2x2(self.layer3(x, train=train)))
        x = residual(x, self.layer3_residual1, self.layer3_residual2)
        return self.head(jnp.max(x, axis=(1, 2)).astype(jnp.float32)) / 8


def max_pool_2x2(
    x: Float[Array, "batch height width channel"],
) -> Float[Array, "batch half_height half_width channel"]:
    """Max over disjoint 2x2 windows, an odd last row or column left out.

    As a reshape: its gradient is a comparison, where that of `nnx.max_pool` is a scatter
    which costs a CPU a quarter of the step of a narrow ResNet-9. Ties share the gradient.
    """
    batch, height, width, channels = x.shape
    if min(height, width) < 2:
        raise ValueError(
            f"images must be at least 8x8 pixels: a 2x2 pooling got {height}x{width}."
        )
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return jnp.max(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


def count_parameters(params: Any) -> int:
    """Number of elements of all arrays of a tree."""
    return sum(x.size for x in jax.tree.leaves(params))
