"""Newton-Schulz: against NumPy in float64, singular values, Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optix_tricks as ot

A, B, C = 3.4445, -4.7750, 2.0315


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def by_singular_values(matrix, steps):
    """The iteration maps each singular value by a polynomial and leaves the vectors."""
    u, s, vt = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    s = s / np.sqrt(np.sum(s**2))
    for _ in range(steps):
        s = A * s + B * s**3 + C * s**5
    return u * s @ vt


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (3, 3, 4, 8), (2, 2, 2, 16)])
@pytest.mark.parametrize("steps", [0, 3, 5])
def test_is_the_polynomial_of_the_singular_values(shape, steps):
    tx = ot.scale_by_newton_schulz(ns_steps=steps)
    g = normal(*shape)
    updates, _ = jax.jit(tx.update)(g, tx.init(g))
    expected = by_singular_values(g.reshape(-1, shape[-1]), steps).reshape(shape)
    np.testing.assert_allclose(updates, expected, atol=2e-5)


def test_five_steps_bring_singular_values_near_one():
    """Unless they are tiny: 0.01 of the norm is still a hundredth of what it was."""
    u, _ = np.linalg.qr(normal(12, 6))
    v, _ = np.linalg.qr(normal(6, 6, seed=1))
    g = (u * np.geomspace(1, 0.02, 6) @ v.T).astype(np.float32)
    tx = ot.scale_by_newton_schulz()
    updates, _ = tx.update(jnp.asarray(g), tx.init(jnp.asarray(g)))
    values = np.linalg.svd(np.asarray(updates), compute_uv=False)
    assert 0.6 < values.min() < values.max() < 1.25


def test_behind_the_trace_follows_a_hand_written_muon():
    """Momentum as PyTorch has it, w -= rate * NS(g + m v), three steps."""
    rate, m = 0.1, 0.6
    tx = optax.chain(
        ot.trace(m, nesterov=True),
        ot.scale_by_newton_schulz(ns_steps=3),
        ot.scale_by_learning_rate(rate),
    )
    w = jnp.asarray(normal(3, 3, 2, 5))
    state, update = tx.init(w), jax.jit(tx.update)
    by_hand, v = np.asarray(w, np.float64), 0.0
    for seed in range(3):
        g = normal(3, 3, 2, 5, seed=seed + 2)
        updates, state = update(jnp.asarray(g), state, w)
        w = optax.apply_updates(w, updates)
        v = m * v + g.astype(np.float64)
        step = by_singular_values((g + m * v).reshape(-1, 5), 3)
        by_hand = by_hand - rate * step.reshape(by_hand.shape)
    np.testing.assert_allclose(w, by_hand, atol=1e-5)


def test_without_momentum_it_is_what_optax_has_in_its_muon():
    theirs = optax.contrib.scale_by_muon(beta=0.0, nesterov=False, eps=1e-7)
    ours = ot.scale_by_newton_schulz()
    g = jnp.asarray(normal(6, 10))
    expected, _ = theirs.update(g, theirs.init(g), g)
    updates, _ = ours.update(g, ours.init(g))
    np.testing.assert_allclose(updates, expected, atol=1e-5)


def test_the_length_of_the_gradient_is_lost_and_vectors_pass():
    tx = ot.scale_by_newton_schulz()
    tree = {"kernel": jnp.asarray(normal(4, 6)), "bias": jnp.ones(6)}
    once, _ = tx.update(tree, tx.init(tree))
    scaled, _ = tx.update(jax.tree.map(lambda x: 50 * x, tree), tx.init(tree))
    np.testing.assert_allclose(once["kernel"], scaled["kernel"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(scaled["bias"], 50.0)


def test_products_in_bfloat16_stay_close():
    g = jnp.asarray(normal(16, 32))
    half = ot.scale_by_newton_schulz(ns_steps=3, compute_dtype=jnp.bfloat16)
    updates, _ = half.update(g, half.init(g))
    assert updates.dtype == jnp.float32
    error = np.linalg.norm(updates - by_singular_values(g, 3))
    assert 0 < error < 0.05 * np.linalg.norm(updates)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ns_steps": -1}, "ns_steps must be .* got -1"),
        ({"eps": 0.0}, "eps must be .* got 0"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ot.scale_by_newton_schulz(**options)


def test_epsilon_is_added_to_the_norm():
    g = jnp.asarray(normal(3, 4))
    tx = ot.scale_by_newton_schulz(ns_steps=0, eps=2.0)
    updates, _ = tx.update(g, tx.init(g))
    np.testing.assert_allclose(updates, g / (np.linalg.norm(g) + 2), rtol=1e-6)


G = np.random.default_rng(3).normal(size=(3, 7))
BEGINNINGS = {  # what the singular values are before the first step
    "frobenius": lambda s, g: s / np.sqrt(np.sum(s**2)),
    "spectral": lambda s, g: s / s[0],
    "schatten": lambda s, g: s / np.sqrt(np.sqrt(np.sum(s**4))),
    "aol": lambda s, g: np.linalg.svd(
        g / np.sqrt(np.abs(g @ g.T).sum(1, keepdims=True)), compute_uv=False
    ),
}


@pytest.mark.parametrize("preconditioning", BEGINNINGS)
def test_the_matrix_begins_as_its_preconditioning_says(preconditioning):
    tx = ot.scale_by_newton_schulz(ns_steps=0, preconditioning=preconditioning)
    g = jnp.asarray(G, jnp.float32)
    updates, _ = tx.update(g, tx.init(g))
    singular = np.linalg.svd(G, compute_uv=False)
    want = BEGINNINGS[preconditioning](singular, G)
    found = np.linalg.svd(np.asarray(updates, float), compute_uv=False)
    np.testing.assert_allclose(found, want, rtol=1e-5)
    assert found[0] < 1 + 1e-5


def test_each_step_may_have_coefficients_of_its_own():
    g = jnp.asarray(G, jnp.float32)
    first, last = (3.0, -4.0, 2.0), (2.0, -1.5, 0.5)
    tx = ot.scale_by_newton_schulz(ns_steps=2, ns_coeffs=((9.0, 9.0, 9.0), first, last))
    x = G / np.linalg.norm(G)
    for a, b, c in (first, last):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    np.testing.assert_allclose(tx.update(g, tx.init(g))[0], x, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="a triple for each of 3 steps, got 2"):
        ot.scale_by_newton_schulz(ns_steps=3, ns_coeffs=(first, last))
