"""How far a spectrum can reach beyond its Ritz values, given a random start."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from optix_tricks.transforms._lanczos import Tridiagonal

_HALVINGS = 50  # of an interval about as long as the spectrum


@jax.jit
def spectrum_bounds(
    krylov: Tridiagonal, *, failure_probability: ArrayLike
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return what no eigenvalue lies below and above, each but for that probability δ.

        Π_i |λ - θ_i| = Π_j β_j |q_{m+1}'u| / |q_1'u|,    P(|q_1'u| < a) <= a sqrt(2n/π)

    λ, u is any eigenpair, θ the m Ritz values, β the off-diagonal of T. The left side is
    the characteristic polynomial of T, and β_1 ... β_m q_{m+1} is that polynomial of H
    times q_1: hence the equation, by the product with u. Outside of all θ its left side
    grows with the distance, its right side is at most Π_j β_j sqrt(2n/π) / δ for a
    uniformly random q_1. With m = n, or where the basis became invariant, a β is zero
    and the outermost Ritz values are the ends of the spectrum themselves.

    To both, rounding of 32 ε max|θ| is added.
    """
    n = krylov.basis.shape[1]
    ritz, _ = krylov.eigh()
    if len(ritz) == n:
        right = jnp.asarray(-jnp.inf, ritz.dtype)
    else:
        rarity = jnp.log(math.sqrt(2 * n / math.pi) / failure_probability)
        right = jnp.sum(jnp.log(krylov.off_diagonal)) + rarity.astype(ritz.dtype)
    distances = jnp.stack([ritz - ritz[0], ritz[-1] - ritz])
    below, above = jax.vmap(_reach, in_axes=(0, None))(distances, right)
    rounding = rounding_of(ritz)
    return ritz[0] - below - rounding, ritz[-1] + above + rounding


def rounding_of(ritz: Float[Array, " m"]) -> Float[Array, ""]:
    """How exact eigenvalues are that come of rounded products."""
    return 32 * jnp.finfo(ritz.dtype).eps * jnp.max(jnp.abs(ritz))


def _reach(distances: Float[Array, " m"], right: Float[Array, ""]) -> Float[Array, ""]:
    """Solve Σ log(distance_i + y) = right for y >= 0, rounded up."""

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        beyond = jnp.sum(jnp.log(distances + middle)) >= right
        return jnp.where(beyond, low, middle), jnp.where(beyond, middle, high)

    farthest = jnp.exp(right / len(distances))
    return lax.fori_loop(0, _HALVINGS, halve, (jnp.zeros_like(farthest), farthest))[1]
