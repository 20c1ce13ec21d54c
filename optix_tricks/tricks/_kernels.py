"""How kernels are parametrised, and how they start."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from optix_tricks import initializers, layers
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import Level, Trick, trick

Wrap = Callable[[Any, nnx.Rngs], Any]
UNIFORM = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


@trick("kernel", calls=layers.WeightNorm, fields=["epsilon"], level=Level.MODULE)
def weight_norm(context: Context, call: Any) -> Wrap:
    """A direction and a length."""
    return lambda layer, rngs: call(layer, rngs=rngs)


@trick("kernel", calls=layers.SpectralNorm, fields=["n_steps"], level=Level.MODULE)
def spectral_norm(context: Context, call: Any) -> Wrap:
    """Divided by the largest singular value."""
    return lambda layer, rngs: call(layer, rngs=rngs)


@trick("kernel", calls=layers.WSConv, fields=["scaled"], level=Level.MODULE)
def weight_standardization(context: Context, call: Any) -> Wrap:
    """Convolutions whose kernels are standardised; linear layers stay as they are."""

    def wrap(layer: Any, rngs: nnx.Rngs) -> Any:
        if not isinstance(layer, nnx.Conv):
            return layer
        new = call(
            layer.in_features,
            layer.out_features,
            layer.kernel_size,
            layer.strides,
            padding=layer.padding,
            input_dilation=layer.input_dilation,
            kernel_dilation=layer.kernel_dilation,
            feature_group_count=layer.feature_group_count,
            use_bias=layer.use_bias,
            dtype=layer.dtype,
            param_dtype=layer.param_dtype,
            rngs=rngs,
        )
        new.kernel[...] = layer.kernel[...]
        if layer.bias is not None:
            new.bias[...] = layer.bias[...]
        return new

    return wrap


def _init(context: Context, call: Any) -> Any:
    del context
    return call()


def initializer(calls: Callable[..., Any], name: str, **numbers: Any) -> Trick:
    """Return the trick of an initialiser of kernels: each is drawn anew from its path."""
    start = trick("kernel_init", calls=calls, name=name, level=Level.MODULE, **numbers)
    return start(_init)


INITIALIZERS = {
    name: initializer(getattr(initializers, name), name)
    for name in (
        "glorot_normal",
        "glorot_uniform",
        "he_normal",
        "he_uniform",
        "kaiming_normal",
        "kaiming_uniform",
        "lecun_normal",
        "lecun_uniform",
        "normal",
        "orthogonal",
        "random_uniform",
        "truncated_normal",
        "uniform",
        "uniform_unit_scaling",
        "xavier_normal",
        "xavier_uniform",
    )
}


@trick("kernel_init", calls=initializers.dirac, fields=(), level=Level.MODULE)
def dirac(context: Context, call: Any) -> Any:
    """Convolutions that hand their inputs on; linear layers by LeCun."""
    of_convolutions, rest = call(rest=UNIFORM), initializers.lecun_normal()

    def init(key: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        return (of_convolutions if len(shape) > 2 else rest)(key, shape, dtype)

    return init
