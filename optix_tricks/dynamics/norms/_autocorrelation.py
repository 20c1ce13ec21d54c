"""How far gradients agree with those of the steps before."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from optix_tricks._checks import check_count
from optix_tricks._tree import check_floating, widen

BLOCKS = 10


class Autocorrelation(NamedTuple):
    """Of a sequence of gradients, by lag in steps."""

    lag: Int[Array, " lags"]  # 0 ... max_lag
    value: Float[Array, " lags"]  # R_k, 1 at lag 0
    standard_error: Float[Array, " lags"]  # from the spread over ten blocks of steps


def gradient_autocorrelation(
    gradients: Float[Array, "steps elements"], *, max_lag: int
) -> Autocorrelation:
    """Estimate how gradients are correlated with those k steps before.

        R_k = E[g_t·g_{t-k}] / E|g_t|²

    The mean is not taken away: a gradient that persists has R_k = 1. Noise that is drawn
    anew each step has R_k = 0 with any mean that is small beside it; a layer that swings
    across a valley has R_1 < 0. Σ_k ρ^k R_k is the S of `corrected_equilibrium`; for that
    alone `observe_weight_norms` needs no stored gradients.

    Helps to see over how many steps gradients agree or undo each other. Does little with
    fewer steps than some ten `max_lag`. Cost: `max_lag` passes over what was stored, no
    gradient.

    Args:
        gradients: one layer's, raveled, a row a step; or the same few hundred of its
            elements drawn at random, which give the same R_k up to noise.
        max_lag: the largest k, below the number of steps.

    Returns:
        R_k with standard errors, NaN with fewer than two steps to a block.

    Raises:
        ValueError: if the shape is another, or there are not more steps than `max_lag`.

    Examples:
        >>> swings = jnp.array([1.0, -1.0] * 20).reshape(40, 1)
        >>> found = gradient_autocorrelation(swings, max_lag=2)
        >>> print(found.value, found.standard_error)
        [ 1. -1.  1.] [0. 0. 0.]

    Source: "Time Series Analysis: Forecasting and Control", Box and Jenkins, 1970,
    section 2.1; "Some Tactical Problems in Digital Simulation", Conway, 1963, for the
    standard error by batch means.
    """
    check_count("max_lag", max_lag)
    check_floating(gradients)
    if gradients.ndim != 2 or len(gradients) <= max_lag:
        raise ValueError(
            f"gradients must be [steps, elements] with more than max_lag={max_lag} steps,"
            f" got {list(gradients.shape)}."
        )
    g = widen(gradients)
    steps = len(g)
    squares = jnp.sum(g * g, axis=1)
    total = jnp.mean(squares)
    value, error = [], []
    for k in range(max_lag + 1):
        products = jnp.sum(g[k:] * g[: steps - k], axis=1)
        both = (squares[k:] + squares[: steps - k]) / 2
        r = jnp.sum(products) / jnp.sum(both)
        value.append(r)
        error.append(standard_error_of_mean(products - r * both) / total)
    return Autocorrelation(jnp.arange(max_lag + 1), jnp.stack(value), jnp.stack(error))


def standard_error_of_mean(x: Array) -> Array:
    """Standard error of the mean over the first axis, correlated steps, by batch means.

    The steps are cut into ten blocks, longer than the correlation for any but the
    shortest runs; the blocks' means are as good as independent. NaN for fewer than two
    steps a block.
    """
    size = len(x) // BLOCKS
    if size < 2:
        return jnp.full(x.shape[1:], jnp.nan, x.dtype)
    blocks = x[-size * BLOCKS :].reshape(BLOCKS, size, *x.shape[1:])
    return jnp.std(jnp.mean(blocks, axis=1), axis=0, ddof=1) / BLOCKS**0.5
