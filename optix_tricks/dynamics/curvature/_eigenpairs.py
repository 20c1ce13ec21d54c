"""The ends of a spectrum: eigenvalues, eigenvectors and how far they can be off."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from optix_tricks._checks import check_count
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree
from optix_tricks.dynamics.curvature._products import Operator, check_operator
from optix_tricks.transforms._full_batch import common_dtype, dot
from optix_tricks.transforms._lanczos import Tridiagonal, for_each, lanczos


class Eigenpairs(NamedTuple):
    """Eigenvalues with unit eigenvectors, the outermost first.

    Under `which="both"` the k largest come first, then the k smallest: 2 k in all, some
    of them twice where the basis has fewer.
    """

    values: Float[Array, " k"]  # Rayleigh quotients v'Hv, in the loss's unit / weight²
    vectors: PyTree  # unit vectors, shaped like the parameters with a leading axis k
    residuals: Float[Array, " k"]  # |Hv - value v|: an eigenvalue is as near as this


def eigenpairs(
    matvec: Operator,
    like: Arrays,
    *,
    k: int = 1,
    which: Literal["largest", "smallest", "both"] = "largest",
    num_matvecs: int = 40,
    key: Array,
) -> Eigenpairs:
    """Find the extreme eigenvalues of a symmetric operator by Lanczos' method.

        Q' H Q = T,    T s = θ s,    v = Q s,    |Hv - θ v| = |β_m s_m|

    Q is an orthonormal basis of span {q, Hq, ..., H^(m-1) q} from a random q,
    orthogonalised in full, twice over: no copies of converged values appear, as they do
    without from some 20 products on. Where the basis is invariant (few distinct
    eigenvalues, low rank, H = 0) it goes on from a new random vector, so that multiple
    eigenvalues are found too.

    `residuals` are measured, not the formula above, which in low precision falls below
    what rounding leaves. Some eigenvalue lies within value ± residual. That none lies
    beyond it is likely but not proven unless m = n: values stay inside the spectrum, so
    a negative one proves negative curvature, a positive smallest one proves nothing by
    itself. The small end, where eigenvalues crowd, converges slowly.

    Helps to see sharpness, the stable learning rate 2 / λ_max, negative curvature. Hurts
    if read without residuals. Cost: `num_matvecs` products and one for each pair, up to
    three gradients each; `num_matvecs` copies of the parameters in memory.

    Args:
        matvec: symmetric, from trees like `like` to such trees.
        like: a tree of the parameters' shapes; values are not read.
        k: how many at each end that is asked for.
        which: "largest", "smallest" or "both".
        num_matvecs: m, the dimension of the basis, cut to the number of parameters.
        key: of the random start.

    Returns:
        Values, vectors and residuals, in float32 or wider.

    Raises:
        ValueError: if `which` is another word, or k pairs do not fit into the basis.

    Examples:
        >>> h = jnp.append(jnp.linspace(-1, 1, 98), jnp.array([5.0, 9.0]))
        >>> pairs = eigenpairs(lambda v: h * v, h, k=2, key=jax.random.key(0))
        >>> print(pairs.values.round(3), pairs.residuals.max() < 1e-4)
        [9. 5.] True

    Source: "An Iteration Method for the Solution of the Eigenvalue Problem of Linear
    Differential and Integral Operators", Lanczos, 1950; "The Symmetric Eigenvalue
    Problem", Parlett, 1980, chapter 13.
    """
    check_operator(matvec, like)
    check_count("k", k, minimum=1)
    check_count("num_matvecs", num_matvecs, minimum=1)
    flat_matvec, unravel, n = flat_operator(matvec, like)
    steps = min(num_matvecs, n)
    if k > steps:
        raise ValueError(
            f"k must be at most {steps}, for num_matvecs={num_matvecs} and {n} "
            f"parameters, got {k}."
        )
    start_key, fresh_key = jax.random.split(key)
    start = jax.random.normal(start_key, (n,), common_dtype(like))
    krylov = lanczos(flat_matvec, start, fresh_key, num_matvecs)
    vectors = _ritz_vectors(krylov, k, which)
    return _measured(vectors, for_each(flat_matvec, vectors), unravel)


@partial(jax.jit, static_argnames=("k", "which"))
def _ritz_vectors(krylov: Tridiagonal, k: int, which: str) -> Float[Array, "k n"]:
    _, coordinates = krylov.eigh()
    smallest, largest = coordinates[:, :k], coordinates[:, ::-1][:, :k]
    ends = {"largest": [largest], "smallest": [smallest], "both": [largest, smallest]}
    vectors = dot(jnp.concatenate(ends[which], axis=1).T, krylov.basis)
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)


@partial(jax.jit, static_argnames="unravel")
def _measured(vectors: Array, products: Array, unravel: Callable) -> Eigenpairs:
    values = jnp.sum(vectors * products, axis=1)
    residuals = jnp.linalg.norm(products - values[:, None] * vectors, axis=1)
    return Eigenpairs(values, jax.vmap(unravel)(vectors), residuals)


def flat_operator(
    matvec: Operator, like: Arrays
) -> tuple[Callable[[Array], Array], Callable[[Array], Any], int]:
    """Return the operator on vectors [n], the way back to a tree, and n."""
    zeros = jax.tree.map(lambda x: jnp.zeros(jnp.shape(x), common_dtype(like)), like)
    flat, unravel = ravel_pytree(zeros)
    return lambda v: ravel_pytree(matvec(unravel(v)))[0], unravel, flat.size
