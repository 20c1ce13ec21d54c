"""Trace and diagonal: unbiased, with standard errors that cover."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import curvature_diagonal, curvature_trace
from optix_tricks.dynamics.curvature._trace import signs

KEY = jax.random.key(0)
N, PROBES, REPEATS = 20, 20, 500


def symmetric():
    x = np.random.default_rng(0).standard_normal((N, N)).astype("float32")
    return x + x.T


@pytest.fixture(scope="module")
def repeated():
    """Estimates of both from many keys."""
    A = jnp.asarray(symmetric())

    def both(key):
        arguments = {"num_probes": PROBES, "key": key}
        return (
            curvature_trace(lambda v: A @ v, A[0], **arguments),
            curvature_diagonal(lambda v: A @ v, A[0], **arguments),
        )

    return jax.jit(jax.vmap(both))(jax.random.split(KEY, REPEATS))


@pytest.mark.parametrize("which", ["trace", "diagonal"])
def test_estimates_are_unbiased_and_their_errors_cover(repeated, which):
    A = symmetric()
    off = A - np.diag(np.diag(A))
    if which == "trace":
        found, exact, variance = repeated[0], np.trace(A), 2 * np.sum(off**2)
    else:
        found, exact, variance = repeated[1], np.diag(A), np.sum(off**2, axis=1)
    error = np.asarray(found.value) - exact
    assert (np.abs(error.mean(axis=0)) <= 4 * np.sqrt(variance / PROBES / REPEATS)).all()
    np.testing.assert_allclose(
        np.mean(np.square(found.standard_error), axis=0), variance / PROBES, rtol=0.1
    )
    covered = np.mean(np.abs(error) <= 2.09 * np.asarray(found.standard_error))
    assert 0.92 <= covered <= 0.98  # Student's t with 19 degrees of freedom: 0.95


def test_a_diagonal_operator_is_exact():
    h = {"a": jnp.arange(4.0), "b": jnp.array(-7.0)}

    def matvec(v):
        return jax.tree.map(jnp.multiply, h, v)

    trace = curvature_trace(matvec, h, num_probes=2, key=KEY)
    assert (trace.value, trace.standard_error) == (-1, 0)
    diagonal = curvature_diagonal(matvec, h, num_probes=3, key=KEY)
    jax.tree.map(np.testing.assert_array_equal, diagonal.value, h)
    assert not any(x.any() for x in jax.tree.leaves(diagonal.standard_error))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_estimates_are_in_float32_or_wider(dtype):
    with jax.enable_x64(dtype == "float64"):
        like = jnp.zeros(6, dtype)
        wide = jnp.promote_types(dtype, "float32")
        h = jnp.linspace(1, 2, 6, dtype=wide)
        for estimate in (
            curvature_trace(lambda v: h * v, like, num_probes=2, key=KEY),
            curvature_diagonal(lambda v: h * v, like, num_probes=2, key=KEY),
        ):
            assert estimate.value.dtype == estimate.standard_error.dtype == wide
            np.testing.assert_allclose(estimate.value.sum(), 9, rtol=1e-6)


def test_one_probe_has_no_standard_error():
    for estimator in (curvature_trace, curvature_diagonal):
        with pytest.raises(ValueError, match="num_probes must be at least 2, got 1"):
            estimator(lambda v: v, jnp.ones(2), num_probes=1, key=KEY)


def test_mean_and_error_are_those_of_all_probes_at_once():
    """The running mean, eager and under jit, against NumPy on the same signs."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((7, 7)).astype(np.float32)
    h = jnp.asarray(a + a.T)
    key = jax.random.key(3)
    run = functools.partial(
        curvature_diagonal, lambda v: h @ v, jnp.ones(7), num_probes=12, key=key
    )
    z = np.stack([signs(jnp.ones(7), k) for k in jax.random.split(key, 12)])
    samples = z.astype(float) * (z.astype(float) @ np.asarray(h, float))
    for found in (run(), jax.jit(run)()):
        np.testing.assert_allclose(found.value, samples.mean(0), rtol=1e-5, atol=1e-5)
        error = samples.std(0, ddof=1) / np.sqrt(12)
        np.testing.assert_allclose(found.standard_error, error, rtol=1e-4)
