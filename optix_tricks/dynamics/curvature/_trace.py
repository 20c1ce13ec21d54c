"""Trace and diagonal of a curvature from products with random signs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._checks import check_count
from optix_tricks._extras import needed
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree
from optix_tricks.dynamics.curvature._products import Operator, check_operator
from optix_tricks.transforms._full_batch import cast, common_dtype
from optix_tricks.transforms._lanczos import scan


class CurvatureEstimate(NamedTuple):
    """A mean over random probes, in the unit of the loss by weight²."""

    value: PyTree  # [], or a tree shaped like the parameters
    standard_error: PyTree  # of the same shape: deviation / sqrt(probes)


def curvature_trace(
    matvec: Operator, like: Arrays, *, num_probes: int = 50, key: Array
) -> CurvatureEstimate:
    """Estimate the trace of a symmetric operator, the sum of its eigenvalues.

        tr H ≈ 1/N Σ_i z_i' H z_i ± s / √N,    z_i ∈ {-1, 1}^n at random

    Unbiased; one probe has variance 2 Σ_{j≠k} H_jk², so that a diagonal H is exact with
    one. The estimator is matfree's, with the deviation s over N - 1 and one probe in
    memory at a time. For tr G / n or the mean curvature divide by the number of
    parameters.

    Helps to follow the mean curvature, which a spectrum's few large values do not show.
    Hurts where the trace is small against |H|: the error then exceeds it, and says so.
    Cost: `num_probes` products, two to three gradients each; to halve the error takes
    four times as many.

    Args:
        matvec: symmetric, from trees like `like` to such trees.
        like: a tree of the parameters' shapes; values are not read.
        num_probes: N, at least 2.
        key: of the signs.

    Returns:
        Value and standard error, in float32 or wider.

    Raises:
        ValueError: if there are fewer than two probes.

    Examples:
        >>> trace = curvature_trace(lambda v: 2 * v, jnp.ones(8), key=jax.random.key(0))
        >>> print(trace.value, trace.standard_error)
        16.0 0.0

    Source: "A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian
    Smoothing Splines", Hutchinson, 1990.
    """
    return _estimate(_stochtrace().monte_carlo_trace(), matvec, like, num_probes, key)


def curvature_diagonal(
    matvec: Operator, like: Arrays, *, num_probes: int = 50, key: Array
) -> CurvatureEstimate:
    """Estimate the diagonal of a symmetric operator, each weight's own curvature.

        diag H ≈ 1/N Σ_i z_i ⊙ H z_i ± s / √N,    z_i ∈ {-1, 1}^n at random

    Unbiased; entry j of one probe has variance Σ_{k≠j} H_jk², so that a diagonal H is
    exact with one. The estimator is matfree's, as in `curvature_trace`; three trees are
    in memory at a time.

    Helps to see which weights are stiff, and to compare with the second moments of Adam.
    Hurts where rows have much off the diagonal: look at the error of each entry.
    Cost: `num_probes` products, two to three gradients each.

    Args:
        matvec: symmetric, from trees like `like` to such trees.
        like: a tree of the parameters' shapes; values are not read.
        num_probes: N, at least 2.
        key: of the signs.

    Returns:
        Value and standard error, two trees in float32 or wider.

    Raises:
        ValueError: if there are fewer than two probes.

    Examples:
        >>> h = jnp.array([1.0, -2.0])
        >>> estimate = curvature_diagonal(lambda v: h * v, h, key=jax.random.key(0))
        >>> print(estimate.value)
        [ 1. -2.]

    Source: "An Estimator for the Diagonal of a Matrix", Bekas, Kokiopoulou and Saad,
    2007.
    """
    return _estimate(_stochtrace().monte_carlo_diagonal(), matvec, like, num_probes, key)


def signs(like: Arrays, key: Array) -> PyTree:
    """A tree of random signs in float32 or wider."""
    wide = cast(jax.tree.map(jnp.zeros_like, like), common_dtype(like))
    return jax.tree.map(lambda z: z[0], _stochtrace().sampler_signs(wide, num=1)(key))


def _stochtrace() -> Any:
    return needed("matfree.stochtrace")


def _estimate(
    integrand: Callable[..., Any],
    matvec: Operator,
    like: Arrays,
    num_probes: int,
    key: Array,
) -> CurvatureEstimate:
    check_operator(matvec, like)
    check_count("num_probes", num_probes, minimum=2)

    def sample(key: Array) -> PyTree:
        with jax.default_matmul_precision("highest"):
            return integrand(matvec, signs(like, key))

    keys = jax.random.split(key, num_probes)
    first = sample(keys[0])
    start = first, jax.tree.map(jnp.zeros_like, first)

    def step(carry: tuple[PyTree, PyTree], inputs: tuple[Array, Array]) -> tuple:
        """Mean and sum of squared deviations of one sample more (Welford, 1962)."""
        key, number = inputs
        means, squares = carry
        away = jax.tree.map(jnp.subtract, sample(key), means)
        means = jax.tree.map(lambda m, d: m + d / number, means, away)
        kept = (number - 1) / number
        return (means, jax.tree.map(lambda s, d: s + kept * d * d, squares, away)), None

    numbers = jnp.arange(2.0, num_probes + 1)
    (means, squares), _ = scan(step, start, (keys[1:], numbers), like=keys)
    factor = num_probes * (num_probes - 1)
    errors = jax.tree.map(lambda s: jnp.sqrt(s / factor), squares)
    return CurvatureEstimate(means, errors)
