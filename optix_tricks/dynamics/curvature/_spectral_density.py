"""The density of a curvature's eigenvalues, by stochastic Lanczos quadrature."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, ScalarLike

from optix_tricks._checks import check_count, check_positive
from optix_tricks._paths import Arrays
from optix_tricks.dynamics.curvature._eigenpairs import flat_operator
from optix_tricks.dynamics.curvature._products import Operator, check_operator
from optix_tricks.dynamics.curvature._trace import signs
from optix_tricks.transforms._full_batch import dot
from optix_tricks.transforms._lanczos import Tridiagonal, for_each, lanczos

_TAIL = 5  # widths beyond the outermost eigenvalues: 6e-7 of a Gaussian


class SpectralDensity(NamedTuple):
    """Share of eigenvalues per unit of eigenvalue, and what it was made of."""

    grid: Float[Array, " points"]  # eigenvalues
    density: Float[Array, " points"]  # integrates to 1
    standard_error: Float[Array, " points"]  # of the density, over the probes
    width: Float[Array, ""]  # σ of the Gaussians, in eigenvalues
    values: Float[Array, "probes m"]  # Ritz values θ, ascending
    weights: Float[Array, "probes m"]  # their shares τ, summing to 1 for each probe


def spectral_density(
    matvec: Operator,
    like: Arrays,
    *,
    num_matvecs: int = 80,
    num_probes: int = 10,
    width: float = 0.01,
    num_points: int = 1000,
    key: Array,
) -> SpectralDensity:
    """Estimate how the eigenvalues of a symmetric operator are distributed.

        φ(t) = 1/N Σ_i Σ_k τ_ik N(t; θ_ik, σ²),    τ_ik = (first entry of s_ik)²

    θ_ik and s_ik are eigenvalues and -vectors of the tridiagonal matrix that Lanczos'
    method makes of H from the i-th of N random sign vectors: the nodes and weights of a
    Gauss quadrature that is exact for polynomials up to degree 2 m - 1. An eigenvalue
    far from the rest shows as a Gaussian with mass 1/n on average; the shape of a dense
    bulk is right to about 1/m of its range.

    Helps to see the bulk at zero, the outliers (often as many as classes) and negative
    curvature at one glance. Hurts as a test for single eigenvalues: `eigenpairs` has
    residuals. Shares below about 1/(N n) are chance.
    Cost: `num_probes` x `num_matvecs` products, two to three gradients each;
    `num_matvecs` copies of the parameters in memory.

    Args:
        matvec: symmetric, from trees like `like` to such trees.
        like: a tree of the parameters' shapes; values are not read.
        num_matvecs: m, cut to the number of parameters, where it becomes exact.
        num_probes: N, at least 2.
        width: σ as a fraction of the range of the Ritz values.
        num_points: of the grid, which ends five widths beyond the outermost.
        key: of the signs.

    Returns:
        Grid, density, its standard error, and all nodes and weights: the share of
        eigenvalues below t, say, is the sum of the weights with values below t,
        divided by the number of probes.

    Raises:
        ValueError: if an argument is out of range or the grid too coarse for the width.

    Examples:
        >>> h = jnp.repeat(jnp.array([0.0, 4.0]), jnp.array([75, 25]))
        >>> spectrum = spectral_density(lambda v: h * v, h, key=jax.random.key(0))
        >>> above = jnp.where(spectrum.grid > 2, spectrum.density, 0.0)
        >>> print(jnp.trapezoid(above, spectrum.grid).round(3))
        0.25

    Source: "An Investigation into Neural Net Optimization via Hessian Eigenvalue
    Density", Ghorbani, Krishnan and Xiao, 2019, section 2.
    """
    check_operator(matvec, like)
    check_count("num_matvecs", num_matvecs, minimum=1)
    check_count("num_probes", num_probes, minimum=2)
    check_count("num_points", num_points, minimum=2)
    check_positive("width", width)
    if num_points < 1 / width + 2 * _TAIL + 1:
        raise ValueError(
            f"num_points must be at least 1 / width + {2 * _TAIL + 1} for a grid finer "
            f"than the width, {width!r}, got {num_points}."
        )
    flat_matvec, _, _ = flat_operator(matvec, like)

    def quadrature(key: Array) -> tuple[Array, Array]:
        sign_key, fresh_key = jax.random.split(key)
        start, _ = ravel_pytree(signs(like, sign_key))
        return _nodes_and_weights(lanczos(flat_matvec, start, fresh_key, num_matvecs))

    keys = jax.random.split(key, num_probes)
    values, weights = for_each(quadrature, keys)
    return _broadened(values, weights, float(width), num_points)


@jax.jit
def _nodes_and_weights(krylov: Tridiagonal) -> tuple[Array, Array]:
    values, coordinates = krylov.eigh()
    return values, coordinates[0] ** 2


@partial(jax.jit, static_argnames="num_points")
def _broadened(
    values: Array, weights: Array, width: ScalarLike, num_points: int
) -> SpectralDensity:
    low, high = jnp.min(values), jnp.max(values)
    scale = jnp.maximum(-low, high)
    span = jnp.where(high - low > 1e-6 * scale, high - low, scale)
    sigma = jnp.where(span > 0, span, 1.0) * width
    grid = jnp.linspace(low - _TAIL * sigma, high + _TAIL * sigma, num_points)

    def density(values: Array, weights: Array) -> Array:
        z = (grid[:, None] - values[None, :]) / sigma
        return dot(jnp.exp(-(z**2) / 2), weights) / (sigma * jnp.sqrt(2 * jnp.pi))

    densities = jax.vmap(density)(values, weights)
    error = jnp.std(densities, axis=0, ddof=1) / jnp.sqrt(len(values))
    return SpectralDensity(
        grid, jnp.mean(densities, axis=0), error, sigma, values, weights
    )
