import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.losses import cross_entropy, n_pair_loss

unchecked = inspect.unwrap(n_pair_loss)


def reference(anchors, positives, weight=0.0):
    x, y, out = np.float64(anchors), np.float64(positives), []
    for i in range(len(x)):
        others = [np.exp(x[i] @ y[j] - x[i] @ y[i]) for j in range(len(x)) if j != i]
        squares = (x[i] ** 2).sum() + (y[i] ** 2).sum()
        out.append(np.log(1 + sum(others)) + weight / 4 * squares)
    return np.array(out)


def pairs(seed=0, batch=6, features=4):
    x, y = np.random.default_rng(seed).normal(size=(2, batch, features))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


@pytest.mark.parametrize("weight", [0.0, 0.002, 3.0])
def test_matches_a_loop_over_pairs(weight):
    x, y = pairs()
    loss = n_pair_loss(x, y, l2_weight=weight)
    np.testing.assert_allclose(loss, reference(x, y, weight), rtol=1e-5)


def test_a_single_pair_has_loss_and_gradient_zero():
    x, y = pairs(batch=1)

    def total(x):
        return n_pair_loss(x, y).sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(x)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((1, 4)))


def test_equal_pairs_have_the_loss_of_a_guess():
    x = jnp.ones((5, 3))
    np.testing.assert_allclose(n_pair_loss(x, x), np.full(5, np.log(5)), rtol=1e-6)
    np.testing.assert_allclose(n_pair_loss(0 * x, x), np.full(5, np.log(5)), rtol=1e-6)


def test_large_products_neither_overflow_nor_cancel():
    x = 1e3 * jnp.eye(3)
    both = jax.jit(jax.value_and_grad(lambda y: n_pair_loss(x, y).sum()))
    value, gradient = both(x)
    assert value == 0
    assert np.isfinite(gradient).all()
    value, gradient = both(jnp.roll(x, 1, axis=0))
    np.testing.assert_allclose(value, 3e6)
    assert np.isfinite(gradient).all()


def test_the_l2_term_draws_to_the_origin_with_half_the_mean_of_both():
    x, y = pairs()

    def total(x, y, weight):
        return n_pair_loss(x, y, l2_weight=weight).sum()

    slopes = jax.jit(jax.grad(total, (0, 1)))
    for with_l2, plain, z in zip(
        slopes(x, y, 0.6), slopes(x, y, 0.0), (x, y), strict=True
    ):
        np.testing.assert_allclose(with_l2 - plain, 0.3 * z, rtol=1e-4, atol=1e-6)


def test_two_pairs_of_one_class_are_pushed_apart():
    x = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    slope = jax.jit(jax.grad(lambda y: n_pair_loss(x, y)[0]))(x)
    assert slope[0, 0] < 0 < slope[1, 0]
    assert slope[1, 0] > slope[2, 0]


@given(st.integers(0, 10**6))
def test_invariances(seed):
    rng, (x, y) = np.random.default_rng(seed), pairs(seed)
    loss, order = n_pair_loss(x, y), rng.permutation(6)
    np.testing.assert_allclose(n_pair_loss(x[order], y[order]), loss[order], 1e-5, 1e-6)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0].astype(np.float32)
    np.testing.assert_allclose(n_pair_loss(x @ rotation, y @ rotation), loss, 1e-4, 1e-5)
    np.testing.assert_allclose(n_pair_loss(2 * x, y / 2), loss, 1e-6, 1e-6)
    own_class = cross_entropy(x @ y.T, jnp.arange(6))
    np.testing.assert_allclose(loss, own_class, 1e-4, 1e-5)


X = jnp.zeros((4, 3))
BAD_INPUT = [
    (X, X[:3], r"anchors and positives must have one shape, got \[4, 3\] and \[3, 3\]"),
    (X[0], X[0], r"anchors must be floating .*got float32\[3\]"),
    (X, X.astype(int), r"positives must be floating .*got int32\[4, 3\]"),
]


@pytest.mark.parametrize(("anchors", "positives", "message"), BAD_INPUT)
def test_bad_input_raises_when_traced(anchors, positives, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(unchecked, anchors, positives)


def test_bad_weight_raises():
    with pytest.raises(ValueError, match="l2_weight must be zero or positive, got -1"):
        n_pair_loss(X, X, l2_weight=-1.0)


def test_batches_may_be_sharded_themselves_over_an_explicit_axis():
    """By vmap or shard_map: each batch then is on one device, and nothing is gathered."""
    x, y = (a.reshape(8, 6, 4) for a in pairs(batch=48))
    explicit = (jax.sharding.AxisType.Explicit,)
    mesh = jax.make_mesh((8,), ("data",), axis_types=explicit)
    loss = jax.vmap(n_pair_loss)
    expected = jax.jit(loss)(x, y)
    with jax.set_mesh(mesh):
        sharded = [jax.device_put(a, jax.P("data")) for a in (x, y)]
        batch = jax.P("data")
        by_shard = jax.shard_map(loss, in_specs=(batch, batch), out_specs=batch)
        for function in (loss, by_shard):
            result = jax.jit(function)(*sharded)
            assert result.sharding.spec[0] == "data"
            np.testing.assert_allclose(result, expected, rtol=1e-5)
