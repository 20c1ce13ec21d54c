"""Lanczos' tridiagonalisation with full reorthogonalisation.

`matfree.decomp.tridiag_sym` is the same recurrence as one compiled loop. This one goes on
where a Krylov space is exhausted (matfree divides by the zero), keeps all bits of its
products on accelerators, and calls the operator from Python unless it is being traced: so
operators may loop over batches on the host, and CPUs do not run convolutions inside a
compiled loop, where they are about 14 times slower.
"""

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from optix_tricks._tree import PyTree, safe_divide
from optix_tricks.transforms._full_batch import dot


class Tridiagonal(NamedTuple):
    """Q H Q' for an orthonormal basis Q of the Krylov space."""

    basis: Float[Array, "m n"]
    diagonal: Float[Array, " m"]
    off_diagonal: Float[Array, " m"]  # the last entry leads out of the basis

    def eigh(self) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
        """Ritz values, ascending, and their coordinates in the basis, in columns."""
        off = jnp.diag(self.off_diagonal[:-1], 1)
        return jnp.linalg.eigh(jnp.diag(self.diagonal) + off + off.T)


def lanczos(
    matvec: Callable[[Array], Array],
    start: Float[Array, " n"],
    key: Array,
    num_matvecs: int,
) -> Tridiagonal:
    """Run min(num_matvecs, n) steps; a basis that is invariant goes on at random."""
    steps = min(num_matvecs, start.size)
    basis = jnp.zeros((steps, start.size), start.dtype)
    carry = basis, start / jnp.linalg.norm(start)
    keys = jax.random.split(key, steps)

    def step(carry: tuple, inputs: tuple) -> tuple:
        i, key = inputs
        spare = jax.random.normal(key, start.shape, start.dtype)
        return _extend(*carry, matvec(carry[1]), i, spare)

    inputs = jnp.arange(steps), keys
    (basis, _), (diagonal, off_diagonal) = scan(step, carry, inputs, like=start)
    return Tridiagonal(basis, diagonal, off_diagonal)


def for_each(function: Callable[[Array], PyTree], xs: Array) -> PyTree:
    """Stack what `function` makes of each row, in a compiled loop only if traced."""
    return scan(lambda carry, x: (carry, function(x)), (), xs, like=xs)[1]


def scan(step: Callable, carry: Any, xs: PyTree, *, like: Array) -> tuple[Any, PyTree]:
    """Do what `lax.scan` does; unless `like` is traced, one call after the other."""
    if isinstance(like, jax.core.Tracer):
        return lax.scan(step, carry, xs)
    outputs = []
    for i in range(len(jax.tree.leaves(xs)[0])):
        carry, output = step(carry, jax.tree.map(itemgetter(i), xs))
        outputs.append(output)
    return carry, jax.tree.map(lambda *rows: jnp.stack(rows), *outputs)


@partial(jax.jit, donate_argnums=0)
def _extend(basis: Array, q: Array, w: Array, i: Array, spare: Array) -> tuple:
    """Add q, whose product is w, to the basis, and find the next direction.

    That is what is new in w, or in the random `spare` where there is nothing.
    """
    basis = basis.at[i].set(q)

    def orthogonal(v: Array) -> Array:
        for _ in range(2):
            v = v - dot(basis.T, dot(basis, v))
        return v

    r = orthogonal(w)
    beta = jnp.linalg.norm(r)
    ends = beta <= 10 * jnp.finfo(q.dtype).eps * jnp.linalg.norm(w)
    following = lax.cond(ends, orthogonal, lambda _: r, spare)
    following = safe_divide(following, jnp.linalg.norm(following))
    return (basis, following), (dot(q, w), jnp.where(ends, 0.0, beta))
