"""The networks of airbench: plain convolutions that learn CIFAR-10 in seconds."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from optix_tricks.initializers import dirac
from optix_tricks.layers import FrozenScaleBatchNorm
from optix_tricks.training._parts import Part, call_norm, make_norm, make_part
from optix_tricks.training._resnet import global_max_pool, max_pool_2x2

the_norm = functools.partial(FrozenScaleBatchNorm, epsilon=1e-12, unbiased=True)

# PyTorch's default: uniform within 1 / sqrt(fan in).
uniform_fan_in = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


PATCH = 2  # side of the first convolution


class Airbench(nnx.Module):
    """A convolution of small patches, three groups of convolutions, a pooling, a head.

        whitening 2x2 - GELU - three groups - global max-pool - linear x logit_scale
        group: 3x3 - max-pool - norm - GELU - 3x3 - norm - GELU

    In the source the kernel of the first convolution whitens the patches and stays as it
    is: see `optix_tricks.initializers.patch_whitening`, which has its shape. A 3x3
    convolution starts by handing its inputs on. Normalisations have a bias and no scale.
    Of equal values in a pooling window the first one has the gradient, as in the source.
    Images of at least 16x16 pixels.

    Helps the shortest runs: 94 % on CIFAR-10 in 9.9 epochs (Jordan). Hurts long runs,
    where residual networks end better. Cost: with widths (64, 256, 256) and two
    convolutions a group 1,971,640 parameters, with (128, 384, 512) and three 9,915,704.

    Beside others: made for `patch_whitening`, `dirac` and `alternating_flip`, a slow
    average by `lookahead`, and `multi_crop_predict` in the test.

    Args:
      num_classes: number of logits.
      widths: channels of the three groups.
      convs: of each group, two or three; of three, the last two are a residual branch.
      in_channels: of the images.
      whitening_bias_init: of the first convolution's bias.
      head_init: of the head's kernel.
      logit_scale: multiplies the logits.
      norm_momentum: of the running statistics.
      conv: makes the convolutions of the groups; see `make_part`, as for the next.
      norm: makes the normalisations.
      dtype: of activations. Logits are always float32.
      rngs: for the initial kernels.

    References:
      Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        widths: Sequence[int] = (64, 256, 256),
        convs: int = 2,
        in_channels: int = 3,
        whitening_bias_init: Callable[..., Any] = nnx.initializers.zeros,
        head_init: Callable[..., Any] = uniform_fan_in,
        logit_scale: float = 1 / 9,
        norm_momentum: float = 0.6,
        conv: Part = nnx.Conv,
        norm: Part = the_norm,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.logit_scale, self.dtype = logit_scale, dtype
        filters = 2 * PATCH**2 * in_channels
        self.whitening = nnx.Conv(
            in_channels,
            filters,
            (PATCH, PATCH),
            padding="VALID",
            kernel_init=uniform_fan_in,
            bias_init=whitening_bias_init,
            dtype=dtype,
            rngs=rngs,
        )
        channels = (filters, *widths)
        self.group1, self.group2, self.group3 = (
            ConvGroup(
                channels[i],
                channels[i + 1],
                convs=convs,
                norm_momentum=norm_momentum,
                conv=conv,
                norm=norm,
                dtype=dtype,
                rngs=rngs,
            )
            for i in range(3)
        )
        self.head = nnx.Linear(
            widths[-1],
            num_classes,
            use_bias=False,
            kernel_init=head_init,
            dtype=jnp.float32,
            rngs=rngs,
        )

    def __call__(
        self, images: Float[Array, "batch height width channel"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Return float32 logits; `train` uses and updates batch statistics."""
        x = gelu(self.whitening(images.astype(self.dtype)))
        for group in (self.group1, self.group2, self.group3):
            x = group(x, train=train)
        return self.head(global_max_pool(x).astype(jnp.float32)) * self.logit_scale


class ConvGroup(nnx.Module):
    """Convolution, 2x2 max-pool, norm, GELU; then one or two without a pool."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        convs: int,
        norm_momentum: float,
        conv: Part,
        norm: Part,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        if convs not in (2, 3):
            raise ValueError(f"convs must be 2 or 3, got {convs}.")

        def conv_of(inputs: int) -> Any:
            return make_part(
                "conv",
                conv,
                inputs,
                out_features,
                (3, 3),
                use_bias=False,
                kernel_init=dirac(rest=uniform_fan_in),
                dtype=dtype,
                rngs=rngs,
            )

        def norm_of() -> Any:
            of_batches = {"momentum": norm_momentum}
            return make_norm(
                norm, out_features, of_batches=of_batches, dtype=dtype, rngs=rngs
            )

        self.conv1, self.norm1 = conv_of(in_features), norm_of()
        self.conv2, self.norm2 = conv_of(out_features), norm_of()
        self.residual = convs == 3
        if self.residual:
            self.conv3, self.norm3 = conv_of(out_features), norm_of()

    def __call__(self, x: Array, *, train: bool) -> Array:
        """Return the features, at half the height and width."""
        normed = functools.partial(call_norm, train=train)
        x = skip = gelu(normed(self.norm1, max_pool_2x2(self.conv1(x))))
        x = normed(self.norm2, self.conv2(x))
        if self.residual:
            x = skip + normed(self.norm3, self.conv3(gelu(x)))
        return gelu(x)


def gelu(x: Array) -> Array:
    """Return x Φ(x), not its approximation by a tanh."""
    return jax.nn.gelu(x, approximate=False)
