"""JAX's initialisers by name, with the variance that keeps a signal's scale."""

from collections.abc import Sequence

import jax
from jax.nn import initializers as jax_init

from optix_tricks.initializers._standard import Initializer, drawn_in_float32
from optix_tricks.initializers._variance_scaling import Axes


@drawn_in_float32
def glorot_uniform(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Sequence[int] = (),
    dtype: jax.typing.DTypeLike | None = None,
) -> Initializer:
    """Draw Glorot's uniform weights.

        Var w = 2 / (fan_in + fan_out)

    uniform in [-a, a), a = √(3 Var w).

    Helps before tanh. Does little where a norm follows each layer.
    Cost: one draw an element.

    Args:
        in_axis: see `variance_scaling`, as for the next three.
        out_axis: of the outputs.
        batch_axis: which count in neither fan.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = glorot_uniform()(jax.random.key(0), (3, 3, 64, 64))
        >>> print(f"{w.var() * 9 * 64:.1f}")
        1.0

    Source: "Understanding the Difficulty of Training Deep Feedforward Neural Networks",
    Glorot and Bengio, 2010.
    """
    return jax_init.glorot_uniform(in_axis, out_axis, batch_axis, dtype)


@drawn_in_float32
def glorot_normal(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Sequence[int] = (),
    dtype: jax.typing.DTypeLike | None = None,
) -> Initializer:
    """Draw Glorot's truncated normal weights.

        Var w = 2 / (fan_in + fan_out)

    a normal cut at two standard deviations, widened by 1 / 0.8796 so that the
    variance holds; PyTorch's is
    not cut: `variance_scaling(1.0, "fan_avg", "normal")`.

    Helps before tanh. Does little where a norm follows each layer.
    Cost: one draw an element.

    Args:
        in_axis: see `variance_scaling`, as for the next three.
        out_axis: of the outputs.
        batch_axis: which count in neither fan.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = glorot_normal()(jax.random.key(0), (3, 3, 64, 64))
        >>> print(f"{w.var() * 9 * 64:.1f}")
        1.0

    Source: "Understanding the Difficulty of Training Deep Feedforward Neural Networks",
    Glorot and Bengio, 2010.
    """
    return jax_init.glorot_normal(in_axis, out_axis, batch_axis, dtype)


@drawn_in_float32
def lecun_uniform(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Sequence[int] = (),
    dtype: jax.typing.DTypeLike | None = None,
) -> Initializer:
    """Draw LeCun's uniform weights.

        Var w = 1 / fan_in

    uniform in [-a, a), a = √(3 Var w).

    Helps before SELU. Does little where a norm follows each layer.
    Cost: one draw an element.

    Args:
        in_axis: see `variance_scaling`, as for the next three.
        out_axis: of the outputs.
        batch_axis: which count in neither fan.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = lecun_uniform()(jax.random.key(0), (3, 3, 64, 64))
        >>> print(f"{w.var() * 9 * 64:.1f}")
        1.0

    Source: "Efficient BackProp", LeCun et al., 1998.
    """
    return jax_init.lecun_uniform(in_axis, out_axis, batch_axis, dtype)


@drawn_in_float32
def lecun_normal(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Sequence[int] = (),
    dtype: jax.typing.DTypeLike | None = None,
) -> Initializer:
    """Draw LeCun's truncated normal weights.

        Var w = 1 / fan_in

    a normal cut at two standard deviations, widened by 1 / 0.8796 so that the
    variance holds.

    Helps before SELU. Does little where a norm follows each layer.
    Cost: one draw an element.

    Args:
        in_axis: see `variance_scaling`, as for the next three.
        out_axis: of the outputs.
        batch_axis: which count in neither fan.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = lecun_normal()(jax.random.key(0), (3, 3, 64, 64))
        >>> print(f"{w.var() * 9 * 64:.1f}")
        1.0

    Source: "Efficient BackProp", LeCun et al., 1998.
    """
    return jax_init.lecun_normal(in_axis, out_axis, batch_axis, dtype)


@drawn_in_float32
def he_uniform(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Sequence[int] = (),
    dtype: jax.typing.DTypeLike | None = None,
) -> Initializer:
    """Draw He's uniform weights.

        Var w = 2 / fan_in

    uniform in [-a, a), a = √(3 Var w).

    Helps convolutions before ReLU. Does little where a norm follows each layer.
    Cost: one draw an element.

    Args:
        in_axis: see `variance_scaling`, as for the next three.
        out_axis: of the outputs.
        batch_axis: which count in neither fan.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = he_uniform()(jax.random.key(0), (3, 3, 64, 64))
        >>> print(f"{w.var() * 9 * 64:.1f}")
        2.0

    Source: "Delving Deep into Rectifiers", He et al., 2015.
    """
    return jax_init.he_uniform(in_axis, out_axis, batch_axis, dtype)


@drawn_in_float32
def he_normal(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Sequence[int] = (),
    dtype: jax.typing.DTypeLike | None = None,
) -> Initializer:
    """Draw He's truncated normal weights.

        Var w = 2 / fan_in

    a normal cut at two standard deviations, widened by 1 / 0.8796 so that the
    variance holds; PyTorch's is
    not cut: `variance_scaling(2.0, "fan_in", "normal")`.

    Helps convolutions before ReLU. Does little where a norm follows each layer.
    Cost: one draw an element.

    Args:
        in_axis: see `variance_scaling`, as for the next three.
        out_axis: of the outputs.
        batch_axis: which count in neither fan.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> w = he_normal()(jax.random.key(0), (3, 3, 64, 64))
        >>> print(f"{w.var() * 9 * 64:.1f}")
        2.0

    Source: "Delving Deep into Rectifiers", He et al., 2015.
    """
    return jax_init.he_normal(in_axis, out_axis, batch_axis, dtype)


xavier_uniform = glorot_uniform
"""`glorot_uniform` by its other name."""

xavier_normal = glorot_normal
"""`glorot_normal` by its other name."""

kaiming_uniform = he_uniform
"""`he_uniform` by its other name."""

kaiming_normal = he_normal
"""`he_normal` by its other name."""
