"""Bounds on a spectrum hold as often as they say, and are no wider than they must be."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics.curvature._ritz_bounds import spectrum_bounds
from optix_tricks.transforms._lanczos import lanczos

N = 60
SPECTRA = {
    "one below": np.r_[-0.01, np.linspace(1, 2, N - 1)],
    "even": np.linspace(0, 1, N),
    "crowded at the ends": (1 - np.cos(np.pi * np.arange(N) / (N - 1))) / 2,
    "crowded below": np.linspace(0, 1, N) ** 4,
    "outliers": np.r_[-0.2, 0.01 * np.cos(np.arange(N - 4)), 3, 5, 9],
    "two values": np.r_[np.ones(N // 2), 2 * np.ones(N // 2)],
}


@functools.partial(jax.jit, static_argnames="num_matvecs")
@functools.partial(jax.vmap, in_axes=(0, None, None))
@functools.partial(jax.vmap, in_axes=(None, 0, None))
def bounds(h, key, failure_probability, num_matvecs=15):
    first, rest = jax.random.split(key)
    start = jax.random.normal(first, h.shape, h.dtype)
    krylov = lanczos(lambda v: h * v, start, rest, num_matvecs)
    return spectrum_bounds(krylov, failure_probability=failure_probability)


def reference(h, start, steps, failure_probability):
    """The largest root below of the characteristic polynomial, by NumPy in float64."""
    basis = [start / np.linalg.norm(start)]
    for _ in range(steps):
        w = h * basis[-1]
        for _ in range(2):
            w = w - np.array(basis).T @ (np.array(basis) @ w)
        basis.append(w / np.linalg.norm(w))
    q = np.array(basis)
    t = q @ np.diag(h) @ q.T
    ritz = np.linalg.eigvalsh(t[:-1, :-1])
    level = np.prod(np.diag(t, 1)) * np.sqrt(2 * len(h) / np.pi) / failure_probability
    roots = np.roots(np.poly(ritz) - np.r_[np.zeros(steps), (-1) ** steps * level])
    real = roots.real[np.abs(roots.imag) < 1e-9]
    return real[real < ritz[0]].max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_fail_no_more_often_than_they_say(dtype):
    keys = jax.random.split(jax.random.key(0), 1000)
    with jax.enable_x64(dtype == "float64"):
        spectra = np.stack(list(SPECTRA.values())).astype(dtype)
        low, high = map(np.asarray, bounds(jnp.asarray(spectra), keys, 0.1))
    low_fails = np.mean(low > np.min(spectra, axis=1, keepdims=True), axis=1)
    high_fails = np.mean(high < np.max(spectra, axis=1, keepdims=True), axis=1)
    assert (low_fails <= 0.13).all()  # three standard errors of a rate of 0.1
    assert (high_fails <= 0.13).all()


def test_they_are_near_where_the_ritz_values_are_and_rarer_failure_is_farther():
    keys = jax.random.split(jax.random.key(1), 50)
    spectra = jnp.asarray(np.stack(list(SPECTRA.values())), jnp.float32)
    low, _ = bounds(spectra, keys, 1e-3)
    rarer, _ = bounds(spectra, keys, 1e-6)
    assert (rarer <= low).all()
    middle = dict(zip(SPECTRA, np.median(low, axis=1), strict=True))
    assert -0.0101 < middle["one below"] < -0.01
    assert -0.2001 < middle["outliers"] < -0.2
    assert 0.9999 < middle["two values"] < 1
    assert -0.15 < middle["even"] < 0


def test_the_equation_is_solved_as_by_numpy():
    with jax.enable_x64(True):
        h = SPECTRA["even"]
        first, rest = jax.random.split(jax.random.key(2))
        start = jax.random.normal(first, h.shape)
        krylov = lanczos(lambda v: jnp.asarray(h) * v, start, rest, 6)
        low, high = spectrum_bounds(krylov, failure_probability=0.01)
        below = reference(h, np.asarray(start), 6, 0.01)
        above = -reference(-h, np.asarray(start), 6, 0.01)
        np.testing.assert_allclose([low, high], [below, above], rtol=1e-9)


@pytest.mark.parametrize("h", [np.zeros(5), np.arange(5.0), np.ones(1)])
def test_a_basis_of_the_whole_space_leaves_rounding_alone(h):
    h = jnp.asarray(h, jnp.float32)
    low, high = bounds(h[None], jax.random.split(jax.random.key(3), 2), 1e-3)
    np.testing.assert_allclose(low, h.min(), atol=5e-6 * float(h.max()))
    np.testing.assert_allclose(high, h.max(), atol=5e-6 * float(h.max()))
    assert (low <= h.min()).all()
    assert (high >= h.max()).all()
