"""The smallest eigenvalue by Lanczos' method, against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.transforms._smallest_eigenpair import smallest_eigenpair

KEY = jax.random.key(0)


@functools.partial(jax.jit, static_argnums=2)
def lanczos(A, start, steps):
    return smallest_eigenpair(lambda q: A @ q, start, KEY, steps)


def symmetric(eigenvalues):
    n = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(n).standard_normal((n, n)))
    return basis @ np.diag(eigenvalues) @ basis.T, basis


@pytest.mark.parametrize(
    "eigenvalues",
    [
        np.linspace(-3, 5, 12),
        np.array([-1.0] * 5 + [2.0] * 7),
        np.array([1e-6] + [1e3] * 11),
        np.zeros(12),
        np.ones(12),
    ],
)
@pytest.mark.parametrize("blind", [False, True])
def test_as_many_steps_as_dimensions_find_the_smallest_eigenvalue(eigenvalues, blind):
    """Also from a start that is blind to it: an eigenvector of the largest."""
    with jax.enable_x64(True):
        A, basis = symmetric(eigenvalues)
        start = basis[:, -1] if blind else np.random.default_rng(1).standard_normal(12)
        pair = lanczos(A, start, 20)
        scale = np.abs(eigenvalues).max()
        np.testing.assert_allclose(pair.value, eigenvalues.min(), atol=1e-12 * scale)
        assert np.linalg.norm(pair.vector) == pytest.approx(1)
        assert pair.residual <= 1e-10 * scale
        np.testing.assert_allclose(A @ pair.vector, pair.value * pair.vector, atol=1e-8)


def test_fewer_steps_give_a_bound_and_an_honest_residual():
    with jax.enable_x64(True):
        eigenvalues = np.linspace(-1, 1, 150) ** 3
        A, _ = symmetric(eigenvalues)
        pair = lanczos(A, np.random.default_rng(2).standard_normal(150), 10)
        assert eigenvalues.min() < pair.value < -0.8
        assert np.abs(eigenvalues - pair.value).min() <= pair.residual
        assert pair.residual > 1e-3


def test_one_dimension_and_none():
    empty = smallest_eigenpair(lambda q: q, jnp.zeros(0), KEY, 8)
    assert float(empty.value) == float(empty.residual) == 0.0
    one = smallest_eigenpair(lambda q: 5 * q, jnp.full(1, 0.1), KEY, 8)
    assert (float(one.value), float(one.residual)) == (5.0, 0.0)
