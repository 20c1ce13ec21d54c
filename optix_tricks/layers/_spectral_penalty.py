"""A penalty on the largest singular value of each kernel."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from optix_tricks._checks import check_count
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree, wide_dtype
from optix_tricks.layers._spectral_norm import as_matrix, power_iteration, product

_EPSILON = 1e-12


def spectral_vectors(key: PRNGKeyArray, params: Arrays) -> PyTree:
    """Return a random first vector for each kernel, to begin `spectral_penalty` with.

        v ~ N(0, I) / ||v||,    of shape [rest] for a kernel [..., out] of rest x out

    Helps by being kept from step to step: one step of iteration then follows W. Cost: one
    vector a kernel.

    Args:
        key: a PRNG key, used for nothing else.
        params: a tree of arrays. Kernels are those of two or more axes.

    Returns:
        A tree of the same structure: float32 or float64 vectors, None for the rest.

    Examples:
        >>> params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
        >>> jax.tree.map(jnp.shape, spectral_vectors(jax.random.key(0), params))
        {'bias': None, 'kernel': (3,)}

    Source: "Spectral Norm Regularization for Improving the Generalizability of Deep
    Learning", Yoshida and Miyato, 2017, algorithm 1.
    """
    leaves, tree = jax.tree.flatten(params)
    vectors: list[Array | None] = []
    for i, leaf in enumerate(leaves):
        if np.ndim(leaf) < 2 or np.size(leaf) == 0:
            vectors.append(None)
            continue
        size = leaf.size // leaf.shape[-1]
        dtype = wide_dtype(leaf.dtype)
        v = jax.random.normal(jax.random.fold_in(key, i), (size,), dtype)
        vectors.append(v / jnp.linalg.norm(v))
    return jax.tree.unflatten(tree, vectors)


def spectral_penalty(
    params: Arrays, vectors: Arrays, *, n_steps: int = 1
) -> tuple[Float[Array, ""], PyTree]:
    """Return half the sum of the kernels' squared largest singular values.

        penalty = ½ Σ σ(W)²,    σ = ||W v||,    ∂penalty/∂W = σ u vᵀ,    u = W v / σ

    Add it, times the paper's λ, to the loss. W is a kernel as a matrix [out, rest]; v
    comes from `n_steps` of power iteration that begin with `vectors`, and is constant in
    the gradient. It is weight decay of the direction that stretches most, and of no
    other. Arrays of fewer than two axes or no elements are left out; to leave out more,
    give a part of the tree. Computed in float32, or in float64 for a float64 kernel.

    Helps generalisation at large batches, in the paper's experiments. Does little under
    batch normalisation, which takes the scale of W out again: a smaller kernel has a
    larger effective learning rate, and nothing else. Cost: three products of each W with
    a vector, and the vectors.

    Beside others: it is `add_decayed_weights` of one direction in each kernel; with both,
    lower the decay. Where two singular values have met, the estimate lags behind the
    larger.

    Args:
        params: a tree of arrays.
        vectors: from `spectral_vectors`, or from the step before.
        n_steps: of power iteration.

    Returns:
        The penalty, and the vectors for the next step.

    Raises:
        ValueError: if `n_steps` is less than 1, or `vectors` do not fit `params`.

    Examples:
        >>> params = {"kernel": jnp.diag(jnp.array([3.0, 2.0])), "bias": jnp.ones(2)}
        >>> vectors = spectral_vectors(jax.random.key(0), params)
        >>> penalty, vectors = spectral_penalty(params, vectors, n_steps=20)
        >>> print(f"{penalty:.3f}")
        4.500

    Source: "Spectral Norm Regularization for Improving the Generalizability of Deep
    Learning", Yoshida and Miyato, 2017, algorithm 1, with one step of iteration a step.
    """
    check_count("n_steps", n_steps, minimum=1)

    def follow(leaf: Array, vector: Array | None) -> Array | None:
        if np.ndim(leaf) < 2 or np.size(leaf) == 0:
            return None
        w = _matrix(leaf)
        found = None if vector is None else list(vector.shape)
        if vector is None or found != [w.shape[1]]:
            raise ValueError(
                f"vectors must hold one of shape {[w.shape[1]]} for a kernel of shape"
                f" {list(leaf.shape)}, got {found}; make them with spectral_vectors."
            )
        u = jnp.zeros(w.shape[0], w.dtype)
        return power_iteration(w, u, vector, n_steps=n_steps, epsilon=_EPSILON)[1]

    def half_square(leaf: Array, v: Array | None) -> Array | None:
        return None if v is None else 0.5 * jnp.sum(product(_matrix(leaf), v) ** 2)

    try:
        jax.tree.structure(params).flatten_up_to(vectors)  # type: ignore[attr-defined]
    except ValueError as error:
        raise ValueError(f"vectors must be a tree like params: {error}") from error
    vectors = jax.tree.map(follow, params, vectors)
    penalties = jax.tree.leaves(jax.tree.map(half_square, params, vectors))
    return sum(penalties, start=jnp.zeros(())), vectors


def _matrix(leaf: Array) -> Array:
    return as_matrix(leaf.astype(wide_dtype(leaf.dtype)))
