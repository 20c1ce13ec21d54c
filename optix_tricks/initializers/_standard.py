"""JAX's initialisers of a given scale, drawn in float32 where 16 bits are asked for."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import jax
import jax.numpy as jnp
from jax.nn import initializers as jax_init
from jax.typing import DTypeLike
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
"""Zeros, for biases; the key is not used. Units that start equal stay equal."""

ones = jax_init.ones
"""Ones, as the scales of norms have them; the key is not used."""

constant = jax_init.constant
"""`constant(value)`: one value everywhere, or an array that broadcasts to the shape.

The array may be a kernel, such as that of `patch_whitening`.
"""


@drawn_in_float32
def normal(stddev: Any = 1e-2, dtype: DTypeLike | None = None) -> Initializer:
    """Draw from a normal distribution of mean zero, whatever the layer.

        w ~ N(0, stddev²)

    Helps embeddings, and nets whose source states a number. Hurts deep nets without
    norms: at 0.01 the signal is lost within a few layers. Cost: one draw an element.

    Beside others: `lsuv` with `key=None` gives it the right scale.

    Args:
        stddev: the standard deviation; 0.01 is JAX's.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = normal(0.1)(jax.random.key(0), (100, 100))
        >>> print(f"{w.std():.2f}")
        0.10

    Source: `jax.nn.initializers.normal`.
    """
    return jax_init.normal(stddev, dtype)


@drawn_in_float32
def truncated_normal(
    stddev: Any = 1e-2,
    dtype: DTypeLike | None = None,
    lower: Any = -2.0,
    upper: Any = 2.0,
) -> Initializer:
    """Draw from a normal distribution that is cut.

        w ~ N(0, stddev²) between stddev · lower and stddev · upper

    `stddev` is that before cutting, as in TF1 and PyTorch: what comes out has 0.8796 of
    it.

    Helps where `normal` does, without its rare large weights. Hurts deep nets without
    norms, as it does. Cost: one draw an element.

    Beside others: `lsuv` with `key=None` gives it the right scale.

    Args:
        stddev: the standard deviation before cutting; 0.01 is JAX's.
        dtype: of the values, where the call does not say.
        lower: bound, in units of `stddev`.
        upper: bound, likewise.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = truncated_normal(0.1)(jax.random.key(0), (100, 100))
        >>> print(f"{w.std():.2f} {w.max():.2f}")
        0.09 0.20

    Source: `jax.nn.initializers.truncated_normal`.
    """
    return jax_init.truncated_normal(stddev, dtype, lower, upper)


@drawn_in_float32
def uniform(scale: Any = 1e-2, dtype: DTypeLike | None = None) -> Initializer:
    """Draw uniformly between zero and a bound.

        w uniform in [0, scale)

    Not around zero: for that take `random_uniform`.

    Helps where a source has it. Hurts kernels, whose weights are all of one sign. Cost:
    one draw an element.

    Beside others: `lsuv` with `key=None` gives it the right scale.

    Args:
        scale: the bound; 0.01 is JAX's.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = uniform(0.5)(jax.random.key(0), (100, 100))
        >>> print(f"{w.min():.2f} {w.max():.2f}")
        0.00 0.50

    Source: `jax.nn.initializers.uniform`.
    """
    return jax_init.uniform(scale, dtype)


@drawn_in_float32
def orthogonal(
    scale: Any = 1.0, column_axis: int = -1, dtype: DTypeLike | None = None
) -> Initializer:
    """Draw a random orthonormal matrix.

        Wᵀ W = scale² I,    or W Wᵀ = scale² I where there are fewer inputs than outputs

    The kernel is seen as the matrix [product of all axes but the last, last].

    Helps deep plain and recurrent nets: all singular values are one, not only on average.
    Does little where a norm follows each layer. Hurts where a kernel has more outputs
    than inputs times pixels: orthonormal in its rows alone, it changes variances with the
    nonlinearity. Cost: a QR decomposition of the kernel, and its compilation, for each
    shape.

    Beside others: it is the first step of `lsuv`.

    Args:
        scale: of all singular values; 1 for linear nets, √2 for ReLU.
        column_axis: of the outputs.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = orthogonal(2.0)(jax.random.key(0), (5, 3))
        >>> print((w.T @ w).round(3) + 0.0)
        [[4. 0. 0.]
         [0. 4. 0.]
         [0. 0. 4.]]

    Source: "Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear Neural
    Networks", Saxe et al., 2014. JAX has none in 16 bits: drawn in float32 and rounded.
    """
    return jax_init.orthogonal(scale, column_axis, dtype)


@drawn_in_float32
def delta_orthogonal(
    scale: Any = 1.0, column_axis: int = -1, dtype: DTypeLike | None = None
) -> Initializer:
    """Draw an orthonormal matrix for the centre of a kernel, with zeros around.

        w[c] = W,    w[·] = 0 elsewhere,    Wᵀ W = scale² I,    c the centre

    for at least as many outputs as inputs.

    Helps very deep convolutional nets without norms or shortcuts. Does little where a
    norm follows each layer. Cost: that of `orthogonal` for the matrix.

    Beside others: `dirac` has the identity for W.

    Args:
        scale: of all singular values.
        column_axis: of the outputs.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = delta_orthogonal()(jax.random.key(0), (3, 3, 2, 2))
        >>> print((w[1, 1].T @ w[1, 1]).round(3) + 0.0, jnp.abs(w[0]).max())
        [[1. 0.]
         [0. 1.]] 0.0

    Source: "Dynamical Isometry and a Mean Field Theory of CNNs", Xiao et al., 2018.
    """
    return jax_init.delta_orthogonal(scale, column_axis, dtype)
