"""Lanczos' tridiagonalisation against NumPy, and where a Krylov space ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.transforms._lanczos import for_each, lanczos, scan

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
BASIS, _ = np.linalg.qr(RNG.normal(size=(8, 8)))
DISTINCT = np.linspace(-2.0, 3.0, 8)
START = RNG.normal(size=8)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def rotated(eigenvalues):
    return BASIS * eigenvalues @ BASIS.T


def krylov_of(A, start, steps):
    return lanczos(lambda q: jnp.asarray(A) @ q, jnp.asarray(start), KEY, steps)


def by_gram_schmidt(A, start, steps):
    """An orthonormal basis of start, A start, A² start, ..., in that order."""
    basis = []
    v = start
    for _ in range(steps):
        for q in basis + basis:
            v = v - q @ v * q
        basis.append(v / np.linalg.norm(v))
        v = A @ basis[-1]
    return np.array(basis)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_basis_is_that_of_gram_schmidt_whatever_the_length_of_the_start(scale):
    A = rotated(DISTINCT)
    found = krylov_of(A, scale * START, 5)
    basis = by_gram_schmidt(A, START, 6)
    projected = basis @ A @ basis.T
    np.testing.assert_allclose(found.basis, basis[:5], atol=1e-12)
    np.testing.assert_allclose(found.diagonal, np.diag(projected)[:5], atol=1e-12)
    np.testing.assert_allclose(found.off_diagonal, np.diag(projected, 1), atol=1e-12)
    values, coordinates = map(np.asarray, found.eigh())
    want = np.linalg.eigvalsh(projected[:5, :5])
    np.testing.assert_allclose(values, want, atol=1e-12)
    vectors = np.asarray(found.basis).T @ coordinates
    residuals = np.linalg.norm(A @ vectors - vectors * values, axis=0)
    np.testing.assert_allclose(
        residuals, np.abs(found.off_diagonal[-1] * coordinates[-1]), atol=1e-12
    )


@pytest.mark.parametrize(
    "eigenvalues",
    [DISTINCT, np.array([2.0] * 3 + [-1.0] * 5), np.full(8, 3.0), np.zeros(8)],
    ids=["distinct", "two", "one", "zero"],
)
def test_an_exhausted_space_goes_on_and_more_steps_than_dimensions_are_not_taken(
    eigenvalues,
):
    A = rotated(eigenvalues)
    found = krylov_of(A, START, 11)
    assert found.basis.shape == (8, 8)
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(8), atol=1e-12)
    ends = found.off_diagonal == 0
    assert ends[-1]
    assert ends.sum() == np.unique(eigenvalues, return_counts=True)[1].max()
    np.testing.assert_allclose(found.eigh()[0], np.sort(eigenvalues), atol=1e-12)


def test_a_start_that_is_an_eigenvector_has_no_neighbour():
    found = krylov_of(rotated(DISTINCT), BASIS[:, 2], 3)
    assert found.off_diagonal[0] == 0
    assert found.off_diagonal[1] > 0
    np.testing.assert_allclose(found.diagonal[0], DISTINCT[2], atol=1e-12)


def test_a_direction_that_is_hardly_new_is_followed_all_the_same():
    """1e-10 of the product is far from rounding in 64 bits."""
    A = np.array([[1.0, 1e-10], [1e-10, 2.0]])
    found = krylov_of(A, [1.0, 0.0], 2)
    np.testing.assert_allclose(found.off_diagonal[0], 1e-10, rtol=1e-5)
    np.testing.assert_allclose(np.abs(found.basis), np.eye(2), atol=1e-12)


def test_one_dimension_makes_no_nan_on_the_way():
    with jax.debug_nans(True):
        found = krylov_of([[3.0]], [2.0], 1)
    assert float(found.diagonal[0]) == 3.0
    assert float(found.off_diagonal[0]) == 0.0


def test_a_loop_runs_in_python_unless_it_is_traced():
    """And gives the same."""
    seen = []

    def square(row):
        seen.append(isinstance(row, jax.core.Tracer))
        return {"sum": row.sum(), "square": row**2}

    rows = jnp.asarray(RNG.normal(size=(3, 2)))
    eager = for_each(square, rows)
    assert seen == [False] * 3
    traced = jax.jit(lambda rows: for_each(square, rows))(rows)
    assert all(seen[3:])
    np.testing.assert_allclose(eager["square"], np.asarray(rows) ** 2)
    for name in eager:
        np.testing.assert_allclose(traced[name], eager[name])

    def add(carry, x):
        return carry + x, carry

    total, before = scan(add, jnp.asarray(1.0), jnp.arange(4.0), like=rows)
    assert float(total) == 7.0
    np.testing.assert_array_equal(before, [1, 1, 2, 4])
