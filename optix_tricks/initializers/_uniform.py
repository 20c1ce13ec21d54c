"""Uniform distributions: between two bounds, and of unit scaling."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.typing import DTypeLike
from jaxtyping import Array, PRNGKeyArray

from optix_tricks._checks import check_number, check_positive
from optix_tricks.initializers._standard import Initializer, drawn_in_float32
from optix_tricks.initializers._variance_scaling import variance_scaling


@drawn_in_float32
def random_uniform(
    minval: float | int = 0.0,
    maxval: float | int = 1.0,
    *,
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Build an initialiser that is uniform between two bounds.

        w = minval + (maxval - minval) u,    u uniform in [0, 1)

    TF1's `random_uniform_initializer`. JAX's `uniform(scale)` begins at zero, which
    gives a layer weights of one sign.

    Helps where a source states its bounds, as "uniform in [-0.05, 0.05]"; hurts deep
    nets, as bounds that know nothing of the fan let variances grow or vanish with
    depth: use `variance_scaling`. Cost: one draw an element.

    Beside others: `lsuv` with `key=None` gives it the right scale.

    Args:
        minval: lower bound.
        maxval: upper bound; rounded to 16 bits, a value may reach it.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`; 16-bit values are float32's, rounded.

    Raises:
        ValueError: if `minval` is not below `maxval`.

    Examples:
        >>> w = random_uniform(-0.05, 0.05)(jax.random.key(0), (100, 100))
        >>> print(f"{w.min():.2f} {w.max():.2f} {abs(w.mean()):.2f}")
        -0.05 0.05 0.00

    Source: "TensorFlow: A System for Large-Scale Machine Learning", Abadi et al., 2016
    (the library, version 1).
    """
    check_number("minval", minval)
    check_number("maxval", maxval)
    if not minval < maxval:
        raise ValueError(f"minval must be below maxval, got {minval!r} and {maxval!r}.")

    def init(
        key: PRNGKeyArray | Array,
        shape: Sequence[int],
        dtype: Any = dtype,
        out_sharding: Any = None,
    ) -> Array:
        return jax.random.uniform(
            key, shape, dtype, minval, maxval, out_sharding=out_sharding
        )

    return init


def uniform_unit_scaling(
    factor: float | int = 1.0, *, dtype: DTypeLike | None = None
) -> Initializer:
    """Build a uniform initialiser that keeps the variance through a linear layer.

        w uniform in [-a, a),    a = factor √(3 / fan_in),    Var w = factor² / fan_in

    TF1's `uniform_unit_scaling_initializer`: variance scaling of factor² over the fan
    in. With a factor of 1 it is LeCun's uniform initialiser.

    Helps deep nets without norms, with a factor for their nonlinearity: about 1.15 for
    tanh and √2 for ReLU. Does little where each layer is followed by a norm, which
    undoes the scale. Cost: one draw an element.

    Beside others: `lsuv` finds the factor that a nonlinearity needs.

    Args:
        factor: multiplies the bounds, and thus the standard deviation.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)` for kernels [..., in, out].

    Raises:
        ValueError: if `factor` is not positive, or a shape has less than two axes.

    Examples:
        >>> w = uniform_unit_scaling()(jax.random.key(0), (3, 3, 12, 100))
        >>> print(f"{w.min():.3f} {w.max():.3f} {w.var() * 3 * 3 * 12:.1f}")
        -0.167 0.167 1.0

    Source: "Random Walk Initialization for Training Very Deep Feedforward Networks",
    Sussillo and Abbott, 2014, section 2.3 (the factors).
    """
    check_positive("factor", factor)
    return variance_scaling(factor**2, "fan_in", "uniform", dtype=dtype)
