"""Lanczos against NumPy's eigh: values, residuals that bound, no ghosts, no breakdown."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from matfree import decomp

from optix_tricks.dynamics import eigenpairs, hessian_operator
from optix_tricks.transforms._lanczos import lanczos

KEY = jax.random.key(0)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def wishart(n, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, n))
    return x @ x.T / n


def rotated(eigenvalues, seed=0):
    n = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    A = basis * np.asarray(eigenvalues) @ basis.T
    return (A + A.T) / 2


def pairs_of(A, **arguments):
    A = jnp.asarray(A)
    return eigenpairs(lambda v: A @ v, A[0], key=arguments.pop("key", KEY), **arguments)


@pytest.mark.parametrize("n", [40, 60])
def test_all_eigenpairs_of_a_wishart_matrix(x64, n):
    A = wishart(n)
    values, vectors = np.linalg.eigh(A)
    found = pairs_of(A, k=5, which="both", num_matvecs=n)
    np.testing.assert_allclose(found.values[:5], values[::-1][:5], rtol=1e-10)
    np.testing.assert_allclose(found.values[5:], values[:5], rtol=1e-5, atol=1e-12)
    cosines = np.abs(np.sum(np.asarray(found.vectors[:5]).T * vectors[:, :-6:-1], axis=0))
    np.testing.assert_allclose(cosines, 1, atol=1e-10)
    assert found.residuals.max() < 1e-12


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-7), ("float32", 2e-6)])
def test_no_ghosts_appear_after_a_value_has_converged(dtype, rtol):
    """A Wishart matrix where Lanczos without reorthogonalisation repeats the largest."""
    with jax.enable_x64(dtype == "float64"):
        A = wishart(200)
        found = pairs_of(A.astype(dtype), k=3, num_matvecs=40)
        assert found.values.dtype == dtype
        expected = np.linalg.eigvalsh(A)[::-1][:3]
        np.testing.assert_allclose(found.values, expected, rtol=rtol)


def test_residuals_bound_the_distance_to_an_eigenvalue(x64):
    """For every operator, start and number of products, converged or not."""
    A = jnp.stack([wishart(30), rotated(np.linspace(-1, 1, 30) ** 3), wishart(30, 1)])
    keys = jax.random.split(KEY, 20)
    for num_matvecs in (4, 9, 16):

        def found(A, key, num_matvecs=num_matvecs):
            return pairs_of(A, k=2, which="both", num_matvecs=num_matvecs, key=key)

        over_starts = jax.vmap(found, in_axes=(None, 0))
        pairs = jax.jit(jax.vmap(over_starts, in_axes=(0, None)))(A, keys)
        spectra = np.linalg.eigvalsh(A)[:, None, None, :]
        distance = np.abs(pairs.values[..., None] - spectra).min(axis=-1)
        assert (distance <= pairs.residuals + 1e-14).all()
        assert (pairs.values <= spectra.max() + 1e-14).all()
        gram = np.einsum("...in,...jn->...ij", pairs.vectors, pairs.vectors)
        assert np.abs(gram - np.eye(4)).max() < 1e-12
    assert distance.max() > 1e-3  # the bound is not met by convergence alone


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "spectrum",
    [
        np.ones(12),
        np.zeros(12),
        np.array([5.0, 2.0, 2.0] + [0.0] * 9),
        np.array([2.0] * 5 + [-1.0] * 7),
        np.array([1e6] + [1e-3] * 11),
    ],
    ids=["identity", "zero", "low rank", "two values", "badly scaled"],
)
def test_an_exhausted_krylov_space_goes_on_with_new_directions(dtype, spectrum):
    with jax.enable_x64(dtype == "float64"):
        A = rotated(spectrum).astype(dtype)
        found = pairs_of(A, k=6, which="both")
        expected = np.sort(np.linalg.eigvalsh(A.astype("float64")))
        tolerance = 30 * jnp.finfo(dtype).eps * np.abs(spectrum).max()
        np.testing.assert_allclose(found.values[:6], expected[::-1][:6], atol=tolerance)
        np.testing.assert_allclose(found.values[6:], expected[:6], atol=tolerance)
        assert found.residuals.max() <= tolerance
        gram = np.asarray(found.vectors @ found.vectors.T)[:6, :6]
        np.testing.assert_allclose(gram, np.eye(6), atol=30 * jnp.finfo(dtype).eps)


def test_one_parameter_has_one_eigenvalue():
    found = eigenpairs(lambda v: 3 * v, jnp.ones(()), which="both", key=KEY)
    np.testing.assert_allclose(found.values, [3, 3])
    np.testing.assert_allclose(np.abs(found.vectors), [1, 1])


def test_the_recurrence_is_matfrees(x64):
    A, start = wishart(30), np.random.default_rng(1).standard_normal(30)
    theirs = decomp.tridiag_sym(10)(lambda v: A @ v, jnp.asarray(start))
    ours = lanczos(lambda v: A @ v, jnp.asarray(start), KEY, 10)
    np.testing.assert_allclose(ours.basis, theirs.Q_tall, atol=1e-12)
    np.testing.assert_allclose(ours.diagonal, jnp.diag(theirs.J_small), atol=1e-12)
    off = jnp.diag(theirs.J_small, 1)
    np.testing.assert_allclose(ours.off_diagonal[:-1], off, atol=1e-12)
    last = jnp.linalg.norm(theirs.residual)
    np.testing.assert_allclose(ours.off_diagonal[-1], last, atol=1e-12)


def mlp_problem(dtype="float64"):
    rng = np.random.default_rng(0)
    params = {"in": rng.standard_normal((4, 4)), "out": rng.standard_normal((4, 3))}
    batch = rng.standard_normal((30, 4)).astype(dtype), rng.integers(0, 3, 30)

    def loss(params):
        logits = jnp.tanh(batch[0] @ params["in"]) @ params["out"]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch[1])
        return jnp.mean(losses)

    return loss, jax.tree.map(lambda x: jnp.asarray(x, dtype), params)


def test_the_hessian_of_an_mlp(x64):
    loss, params = mlp_problem()
    flat, unravel = ravel_pytree(params)
    H = jax.jit(jax.hessian(lambda w: loss(unravel(w))))(flat)
    found = eigenpairs(hessian_operator(loss, params), params, k=4, which="both", key=KEY)
    values = np.linalg.eigvalsh(H)
    assert values[0] < -1e-3
    np.testing.assert_allclose(found.values[:4], values[::-1][:4], rtol=1e-5)
    np.testing.assert_allclose(found.values[4:], values[:4], rtol=1e-5)
    assert {name: x.shape for name, x in found.vectors.items()} == {
        "in": (8, 4, 4),
        "out": (8, 4, 3),
    }


def test_float32_and_16_bit_parameters_reach_the_floor_of_float32():
    loss, params = mlp_problem("float32")
    with jax.enable_x64(True):
        wide_loss, wide = mlp_problem()
        wide = jax.tree.map(lambda x: x.astype("float32").astype("float64"), wide)
        exact = eigenpairs(hessian_operator(wide_loss, wide), wide, k=2, key=KEY)
    found = eigenpairs(hessian_operator(loss, params), params, k=2, key=KEY)
    np.testing.assert_allclose(found.values, exact.values, rtol=2e-6)

    narrow = jax.tree.map(lambda x: x.astype("bfloat16"), params)
    found = eigenpairs(hessian_operator(loss, narrow), narrow, k=2, key=KEY)
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    assert found.residuals.max() < 1e-5


def test_jit_and_python_walk_the_same_way(x64):
    A = jnp.asarray(wishart(30))

    def found(A):
        return pairs_of(A, k=2, which="both", num_matvecs=8)

    for x, y in zip(found(A), jax.jit(found)(A), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-9)


def test_bad_arguments_are_named():
    A = np.eye(3, dtype="float32")
    with pytest.raises(ValueError, match="which must be 'largest', 'smallest' or 'both'"):
        pairs_of(A, which="LM")
    with pytest.raises(ValueError, match="k must be at most 3, for num_matvecs=40 and 3"):
        pairs_of(A, k=4)
    with pytest.raises(ValueError, match="k must be at most 2, for num_matvecs=2"):
        pairs_of(A, k=3, num_matvecs=2)
    with pytest.raises(ValueError, match="k must be at least 1"):
        pairs_of(A, k=0)
    with pytest.raises(ValueError, match="num_matvecs must be a whole number"):
        inspect.unwrap(eigenpairs)(lambda v: v, A[0], num_matvecs=2.5, key=KEY)
    with pytest.raises(ValueError, match=r"real floating-point arrays .*, got int32"):
        eigenpairs(lambda v: v, jnp.arange(3), key=KEY)
