"""The networks of airbench: plain convolutions that learn CIFAR-10 in seconds."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from optix_tricks.initializers import dirac
from optix_tricks.layers import FrozenScaleBatchNorm
from optix_tricks.training import (
    Part,
    call_norm,
    global_max_pool,
    make_norm,
    make_part,
    max_pool_2x2,
)

the_norm = functools.partial(FrozenScaleBatchNorm, epsilon=1e-12, unbiased=True)

# PyTorch's default: uniform within 1 / sqrt(fan in).
uniform_fan_in = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Airbench(nnx.Module):
    """A whitening convolution, three groups of convolutions, a pooling, a linear head.

    The kernel of the whitening convolution stays as it is given; its bias is trained. A
    3x3 convolution starts by handing its inputs on. Normalisations have a bias and no
    scale. Of equal values in a pooling window the first one has the gradient, as in the
    source. With widths (64, 256, 256) and two convolutions a group 1,971,640 parameters,
    with (128, 384, 512) and three 9,915,704. Images of at least 16x16 pixels.

    Args:
      num_classes: number of logits.
      widths: channels of the three groups.
      convs: of each group, two or three; of three, the last two are a residual branch.
      whitening: the first kernel; see `optix_tricks.initializers.patch_whitening`.
      whitening_bias_init: of the bias beside it.
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
        whitening: Float[Array, "height width channel filters"],
        whitening_bias_init: Any = nnx.initializers.zeros,
        head_init: Any = uniform_fan_in,
        logit_scale: float = 1 / 9,
        norm_momentum: float = 0.6,
        conv: Part = nnx.Conv,
        norm: Part = the_norm,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.logit_scale, self.dtype = logit_scale, dtype
        self.whitening = Whitening(
            whitening, bias_init=whitening_bias_init, dtype=dtype, rngs=rngs
        )
        channels = (whitening.shape[-1], *widths)
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


class Whitening(nnx.Module):
    """A convolution whose kernel is given and whose bias is trained; no padding."""

    def __init__(
        self,
        kernel: Float[Array, "height width channel filters"],
        *,
        bias_init: Any,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(bias_init(rngs.params(), kernel.shape[-1:], jnp.float32))
        self.dtype = dtype

    def __call__(self, x: Array) -> Array:
        """Return the features."""
        kernel = lax.stop_gradient(self.kernel[...]).astype(self.dtype)
        y = lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y + self.bias[...].astype(self.dtype)[None, None, None]


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
        dtype: Any,
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
