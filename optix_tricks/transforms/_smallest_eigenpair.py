"""The smallest eigenvalue of a symmetric operator, by Lanczos' method."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks.transforms._full_batch import dot
from optix_tricks.transforms._lanczos import lanczos


class Eigenpair(NamedTuple):
    """An eigenvalue, its unit vector, and how well they fit."""

    value: Float[Array, ""]  # v'Hv, never below the smallest eigenvalue
    vector: Float[Array, " n"]
    residual: Float[Array, ""]  # |Hv - value v|: an eigenvalue is as near as this


def smallest_eigenpair(
    matvec: Callable[[Array], Array], start: Float[Array, " n"], key: Array, steps: int
) -> Eigenpair:
    """Approximate the smallest eigenvalue of `matvec` and its eigenvector.

    Copies of an eigenvalue, and a start that is blind to the smallest one, do no harm if
    there are as many steps as dimensions.
    """
    if start.size == 0:
        zero = jnp.zeros((), start.dtype)
        return Eigenpair(zero, start, zero)
    krylov = lanczos(matvec, start, key, steps)
    _, coordinates = krylov.eigh()
    v = dot(krylov.basis.T, coordinates[:, 0])
    Hv = matvec(v)
    value = dot(v, Hv)
    return Eigenpair(value, v, jnp.linalg.norm(Hv - value * v))
