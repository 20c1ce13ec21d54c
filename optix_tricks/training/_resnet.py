"""Residual networks in flax.nnx: ResNet-18, -34, -50, and Page's ResNet-9.

Images are [batch, height, width, channel]. `dtype` is the one of activations,
`param_dtype` the one of kernels, see `blocks`; for `conv` and `norm` see `parts`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count
from optix_tricks._paths import Arrays
from optix_tricks.layers import BatchNorm, stochastic_depth_rates
from optix_tricks.training._blocks import BasicBlock, BottleneckBlock, ConvNorm
from optix_tricks.training._parts import Part


class ResNet(nnx.Module):
    """A residual network of four stages.

        y = relu(x + norm(branch(x)))    in each block

    with two 3x3 convolutions in a branch (`BasicBlock`), or 1x1, 3x3 and 1x1
    (`BottleneckBlock`).

    Helps any task on images; most tricks were measured on it. Hurts short runs on small
    images, which learn faster in `ResNet9`. Cost: at width 64 and 1,000 classes 11.7 M
    parameters (`ResNet18`) or 25.6 M (`ResNet50`).

    Beside others: `zero_gamma`, `drop_path` and `layer_scale` are arguments of its
    branches. The "cifar" stem keeps the size of small images, which the other divides by
    four before the first block.

    Args:
      num_classes: number of logits.
      stages: blocks of each stage.
      block: `BasicBlock` or `BottleneckBlock`.
      width: channels of the first stage; doubled from stage to stage.
      in_channels: channels of the images.
      stem: "imagenet", a 7x7 convolution of stride 2 and a 3x3 max-pool of stride 2, or
        "cifar", one 3x3 convolution, for images of about 32 pixels.
      zero_init_last_gamma: start the scale of each branch's last normalisation at zero,
        so that every block starts as the identity (Goyal et al., 2017). Without effect
        where the norm has no scale, or `norm` sets its `scale_init`.
      drop_path: rate at which the last block's branch is left out in training, an
        example at a time; it grows linearly from the first block (Huang et al., 2016).
      layer_scale: the factors of branches at the start; None for none.
      conv: makes the convolutions.
      norm: makes the normalisations, of batches or of examples.
      dtype: of activations. Logits are always float32.
      param_dtype: of the kernels of convolutions.
      axis_name: the axis over which `pmap` or `shard_map` splits the batch; batch
        statistics are then those of the whole batch. Not needed under `jit`.
      rngs: for the initial kernels (He normal, fan out, unless `conv` sets another
        `kernel_init`) and for `drop_path`.

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
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        conv: Part = nnx.Conv,
        norm: Part = BatchNorm,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        axis_name: str | None = None,
        rngs: nnx.Rngs,
    ):
        check_count("width", width, minimum=1)
        if stem not in ("imagenet", "cifar"):
            raise ValueError(f"stem must be 'imagenet' or 'cifar', got {stem!r}.")
        options: dict[str, Any] = {
            "conv": conv,
            "norm": norm,
            "dtype": dtype,
            "rngs": rngs,
        }
        options |= {"param_dtype": param_dtype, "axis_name": axis_name}
        rates = iter(stochastic_depth_rates(sum(stages), drop_path))
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
                    drop_path=next(rates),
                    layer_scale=layer_scale,
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

        prep - layer 1 (pool, residual of two) - layer 2 (pool) - layer 3 (pool,
        residual of two) - global max-pool - linear x 1/8;    widths w, 2w, 4w, 8w

    Pooling stands before the ReLU, which commutes with it, as it leaves less to do.
    Images of at least 8x8 pixels.

    Helps short runs on small images. Hurts long runs, where deeper networks end better.
    Cost: 6.57 M parameters at width 64.

    Beside others: no `zero_gamma`, as a ReLU stands between norm and sum: a branch that
    starts at zero gets no gradient.

    Args:
      num_classes: number of logits.
      width: channels of the first convolution.
      in_channels: channels of the images.
      conv: see `ResNet`, also for the next four.
      norm: makes the normalisations.
      dtype: of activations.
      param_dtype: of the kernels of convolutions.
      axis_name: the axis over which the batch is split.
      rngs: for the initial kernels (LeCun normal, unless `conv` sets another).

    References:
      Page, How to train your ResNet, 2018; network of `dawn.py`.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 64,
        in_channels: int = 3,
        conv: Part = nnx.Conv,
        norm: Part = BatchNorm,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        axis_name: str | None = None,
        rngs: nnx.Rngs,
    ):
        check_count("width", width, minimum=1)
        layer: Callable[..., ConvNorm] = functools.partial(
            ConvNorm,
            kernel_size=3,
            kernel_init=nnx.initializers.lecun_normal(),
            conv=conv,
            norm=norm,
            dtype=dtype,
            param_dtype=param_dtype,
            axis_name=axis_name,
            rngs=rngs,
        )
        self.dtype = dtype
        self.prep = layer(in_channels, width)
        self.layer1 = layer(width, 2 * width)
        self.layer1_residual1 = layer(2 * width, 2 * width)
        self.layer1_residual2 = layer(2 * width, 2 * width)
        self.layer2 = layer(2 * width, 4 * width)
        self.layer3 = layer(4 * width, 8 * width)
        self.layer3_residual1 = layer(8 * width, 8 * width)
        self.layer3_residual2 = layer(8 * width, 8 * width)
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
        return self.head(global_max_pool(x).astype(jnp.float32)) / 8


def max_pool_2x2(
    x: Float[Array, "batch height width channel"],
) -> Float[Array, "batch half_height half_width channel"]:
    """Max over disjoint 2x2 windows, an odd last row or column left out.

    Of equal values the first one, row by row, has the gradient, as in PyTorch and in
    `nnx.max_pool`, whose gradient is a scatter and costs a CPU a quarter of the step of a
    narrow ResNet-9. Here it is a comparison.
    """
    batch, height, width, channels = x.shape
    if min(height, width) < 2:
        raise ValueError(
            f"images must be at least 8x8 pixels: a 2x2 pooling got {height}x{width}."
        )
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return _max_of_windows(x.reshape(batch, height // 2, 2, width // 2, 2, channels))


def global_max_pool(
    x: Float[Array, "batch height width channel"],
) -> Float[Array, "batch channel"]:
    """Max over all positions; of equal values the first one has the gradient."""
    batch, height, width, channels = x.shape
    whole = _max_of_windows(x.reshape(batch, 1, height, 1, width, channels))
    return whole.reshape(batch, channels)


@jax.custom_jvp
def _max_of_windows(
    x: Float[Array, "batch rows height columns width channel"],
) -> Float[Array, "batch rows columns channel"]:
    return jnp.max(x, axis=(2, 4))


@_max_of_windows.defjvp
def _derivative_at_the_first(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    """`jnp.max` itself shares the gradient among equal values."""
    (x,), (dx,) = primals, tangents
    y = _max_of_windows(x)
    size = x.shape[2] * x.shape[4]
    place = jnp.arange(size).reshape(1, 1, x.shape[2], 1, x.shape[4], 1)
    largest = jnp.where(x == y[:, :, None, :, None], place, size)
    first = jnp.min(largest, axis=(2, 4), keepdims=True)
    return y, jnp.sum(jnp.where(place == first, dx, 0), axis=(2, 4))


def count_parameters(params: Arrays) -> int:
    """Number of elements of all arrays of a tree."""
    return sum(np.size(x) for x in jax.tree.leaves(params))
