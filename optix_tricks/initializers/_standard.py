"""The initialisers of JAX, each drawn in float32 where 16 bits are asked for."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import jax
import jax.numpy as jnp
from jax.nn import initializers as jax_init
from jaxtyping import Array, PRNGKeyArray

from optix_tricks._tree import wide_dtype

Initializer = jax_init.Initializer
P = ParamSpec("P")


def drawn_in_float32(factory: Callable[P, Initializer]) -> Callable[P, Initializer]:
    """Let the initialisers of a factory draw in float32 or wider, and round once.

    Asked for bfloat16, JAX draws one of 128 numbers whose mean lies 0.012 standard
    deviations below zero and whose largest is 2.5 of them (1,024 numbers in float16),
    and has no orthogonal matrices. In float32 and float64 nothing changes.
    """

    @functools.wraps(factory)
    def wide_factory(*args: P.args, **kwargs: P.kwargs) -> Initializer:
        draw = factory(*args, **kwargs)
        default = inspect.signature(draw).parameters["dtype"].default

        def init(
            key: PRNGKeyArray | Array,
            shape: Sequence[int],
            dtype: Any = default,
            out_sharding: Any = None,
        ) -> Array:
            dtype = jax.dtypes.canonicalize_dtype(float if dtype is None else dtype)
            floating = jnp.issubdtype(dtype, jnp.floating)
            wide = wide_dtype(dtype) if floating else dtype
            return draw(key, shape, wide, out_sharding).astype(dtype)

        return init

    return wide_factory


zeros = jax_init.zeros
"""Zeros, as biases have them; the key is not used."""

ones = jax_init.ones
"""Ones, as the scales of norms have them; the key is not used."""

constant = jax_init.constant
"""`constant(value)`: one value everywhere, or an array that broadcasts to the shape."""

normal = drawn_in_float32(jax_init.normal)
"""`normal(stddev=0.01)`: a normal distribution of mean zero."""

truncated_normal = drawn_in_float32(jax_init.truncated_normal)
"""`truncated_normal(stddev=0.01, *, lower=-2.0, upper=2.0)`: cut at two `stddev`.

`stddev` is that before cutting, as in TF1 and PyTorch: what comes out has 0.8796 of it.
"""

uniform = drawn_in_float32(jax_init.uniform)
"""`uniform(scale=0.01)`: uniform in [0, scale), not around zero; see `random_uniform`."""

variance_scaling = drawn_in_float32(jax_init.variance_scaling)
"""`variance_scaling(scale, mode, distribution)`: variance scale / n.

n is the fan of `mode`: "fan_in", "fan_out", "fan_avg" or "fan_geo_avg". `distribution` is
"truncated_normal", widened by 1 / 0.8796 so that the variance holds, "normal", which is
not cut, or "uniform".
"""

glorot_uniform = drawn_in_float32(jax_init.glorot_uniform)
"""Uniform of variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""

glorot_normal = drawn_in_float32(jax_init.glorot_normal)
"""Truncated normal of variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""

lecun_uniform = drawn_in_float32(jax_init.lecun_uniform)
"""Uniform of variance 1 / fan_in (LeCun et al., 1998)."""

lecun_normal = drawn_in_float32(jax_init.lecun_normal)
"""Truncated normal of variance 1 / fan_in (LeCun et al., 1998)."""

he_uniform = drawn_in_float32(jax_init.he_uniform)
"""Uniform of variance 2 / fan_in (He et al., 2015)."""

he_normal = drawn_in_float32(jax_init.he_normal)
"""Truncated normal of variance 2 / fan_in (He et al., 2015); PyTorch's is not cut."""

orthogonal = drawn_in_float32(jax_init.orthogonal)
"""`orthogonal(scale=1.0)`: orthonormal columns, or rows where there are fewer of them.

A kernel is seen as the matrix [product of all axes but the last, last] (Saxe et al.,
2014); times `scale`.
"""

delta_orthogonal = drawn_in_float32(jax_init.delta_orthogonal)
"""An orthogonal matrix at the centre of the kernel, zeros elsewhere (Xiao et al., 2018).

`delta_orthogonal(scale=1.0)`, for at least as many outputs as inputs.
"""

xavier_uniform = glorot_uniform
"""`glorot_uniform` by its other name."""

xavier_normal = glorot_normal
"""`glorot_normal` by its other name."""

kaiming_uniform = he_uniform
"""`he_uniform` by its other name."""

kaiming_normal = he_normal
"""`he_normal` by its other name."""
