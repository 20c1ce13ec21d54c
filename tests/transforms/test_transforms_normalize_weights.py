"""Unit weights before every step: the formula, and what passes unchanged."""

import jax
import jax.numpy as jnp
import numpy as np

import optix_tricks as ot

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 2, 5)).astype(np.float32)


def test_weights_have_unit_scale_before_the_step():
    tx = ot.normalize_weights()
    tree = {"kernel": jnp.asarray(KERNEL), "bias": jnp.full(5, 7.0)}
    u = jax.tree.map(lambda x: 0.01 * jnp.ones_like(x), tree)
    updates, _ = jax.jit(tx.update)(u, tx.init(tree), tree)
    kernel = np.asarray(tree["kernel"], np.float64)
    expected = np.sqrt(5) * kernel / np.sqrt((kernel**2).sum()) + 0.01
    np.testing.assert_allclose(tree["kernel"] + updates["kernel"], expected, rtol=1e-5)
    np.testing.assert_allclose(tree["bias"] + updates["bias"], 7.01, rtol=1e-6)


def test_weights_of_zeros_take_the_plain_step():
    tx = ot.normalize_weights()
    w = jnp.zeros((2, 3))
    updates, _ = tx.update(jnp.ones((2, 3)), tx.init(w), w)
    np.testing.assert_array_equal(updates, 1.0)


def test_the_step_does_not_depend_on_weights_of_zeros():
    """Not by NaN either, as by the derivative of a norm at zero."""
    tx = ot.normalize_weights()
    w = jnp.zeros((2, 3))
    state = tx.init(w)
    slope = jax.grad(lambda w: tx.update(jnp.ones((2, 3)), state, w)[0].sum())(w)
    np.testing.assert_array_equal(slope, 0.0)
