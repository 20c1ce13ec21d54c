import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.losses import (
    cross_entropy,
    focal_loss,
    one_hot,
    sigmoid_focal_loss,
)

focal = jax.jit(focal_loss)
focal_gradient = jax.jit(jax.grad(lambda z, y, g: focal_loss(z, y, gamma=g).sum()))
binary = jax.jit(sigmoid_focal_loss)
binary_gradient = jax.jit(
    jax.grad(lambda z, y, g: sigmoid_focal_loss(z, y, gamma=g).sum())
)


def example(seed=0, shape=(6, 5)):
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=shape).astype(np.float32)
    labels = rng.integers(0, shape[-1], shape[:-1]).astype(np.int32)
    return jnp.asarray(logits), jnp.asarray(labels)


def reference(logits, dense, gamma, alpha):
    z = np.asarray(logits, np.float64)
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return -(np.asarray(dense, np.float64) * alpha * (1 - p) ** gamma * np.log(p)).sum(-1)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 4), (7,)])
def test_matches_reference(shape, gamma):
    logits, labels = example(shape=shape)
    alpha = np.linspace(0.2, 2, shape[-1])
    mixed = jax.nn.softmax(example(1, shape)[0])
    for y, dense in ((labels, np.eye(shape[-1])[np.asarray(labels)]), (mixed, mixed)):
        loss = focal(logits, y, gamma=gamma)
        expected = reference(logits, dense, gamma, 1.0)
        np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=1e-6)
        loss = focal(logits, y, gamma=gamma, alpha=alpha)
        expected = reference(logits, dense, gamma, alpha)
        np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=1e-6)


@given(st.integers(0, 10**6))
def test_gamma_zero_is_cross_entropy_and_more_gamma_is_less_loss(seed):
    logits, labels = example(seed)
    plain = focal(logits, labels, gamma=0.0)
    np.testing.assert_allclose(plain, cross_entropy(logits, labels), 1e-5, 1e-6)
    less = focal(logits, labels, gamma=0.7)
    assert (focal(logits, labels, gamma=1.4) < less).all()
    assert (less < plain).all()


@pytest.mark.parametrize("label", [0, 1])
def test_it_is_precise_where_the_net_is_confident(label):
    """1 - p and log p come from the odds, not from a p that rounds to 1."""
    logits = jnp.array([[18.0, 0.0, 0.0], [0.0, -15.0, 2.0]])
    z = np.asarray(logits, np.longdouble)
    e = np.exp(z)
    rest = np.delete(e, label, axis=1).sum(1)
    odds = e[:, label] / rest
    expected = (1 / (1 + odds)) ** 2 * np.log1p(1 / odds)
    for y in (jnp.array([label, label]), one_hot(jnp.array([label, label]), 3)):
        loss = focal(logits, y)
        np.testing.assert_allclose(loss, expected.astype(float), rtol=2e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("margin", [0.0, 40.0, 1e4, 1e30, -40.0, -1e4, -1e30])
def test_the_gradient_is_finite_at_every_probability(margin, gamma):
    logits = jnp.array([[margin, 0.0, 0.0]])
    for y in (jnp.array([0]), jnp.array([[0.8, 0.2, 0.0]])):
        assert np.isfinite(focal_gradient(logits, y, gamma)).all()


@pytest.mark.parametrize("gamma", [0.0, 2.0, 1000.0])
def test_logits_up_to_the_stated_size(gamma):
    size = 0.99e37 / (1 + gamma)
    logits = jnp.array([[size, -size, 0.0]])
    for label in range(3):
        y = jnp.array([label])
        assert np.isfinite(focal_gradient(logits, y, gamma)).all()
        plain = focal(logits, y, gamma=0.0)
        np.testing.assert_allclose(plain, cross_entropy(logits, y), rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1000.0])
def test_a_masked_class_is_as_if_it_were_not(gamma):
    masked, y = jnp.array([[1.0, -jnp.inf, 0.0]]), jnp.array([0])
    without = masked[:, ::2]
    loss = focal(masked, y, gamma=gamma)
    np.testing.assert_allclose(loss, focal(without, y, gamma=gamma), rtol=1e-6)
    gradient = focal_gradient(masked, y, gamma)
    expected = focal_gradient(without, y, gamma)
    np.testing.assert_allclose(gradient[:, ::2], expected, rtol=1e-5)
    assert gradient[0, 1] == 0


def test_of_one_class_or_equal_logits():
    alone, label = jnp.array([[3.0]]), jnp.array([0])
    assert focal(alone, label) == 0
    assert focal_gradient(alone, label, 2.0) == 0
    loss = focal(jnp.zeros((1, 4)), jnp.array([2]))
    np.testing.assert_allclose(loss, [0.75**2 * np.log(4)], rtol=1e-6)


def test_easy_examples_lose_their_share_of_the_gradient():
    logits, labels = jnp.array([[4.0, 0.0], [-1.0, 0.0]]), jnp.array([0, 0])

    def share(loss):
        gradient = jax.jit(jax.grad(lambda z: loss(z, labels).sum()))(logits)
        return float(gradient[0, 0]) / float(gradient[1, 0])

    assert share(cross_entropy) > 0.02
    assert share(focal_loss) < 1e-4


def test_bad_arguments_raise():
    logits, labels = example()
    with pytest.raises(ValueError, match=r"gamma must be zero or positive, got -1\.0"):
        focal_loss(logits, labels, gamma=-1.0)
    for alpha in (0.25, jnp.ones(4)):
        with pytest.raises(ValueError, match=r"alpha .* each class, shape \[5\], got"):
            focal_loss(logits, labels, alpha=alpha)


def binary_reference(logits, labels, alpha, gamma):
    x, y = np.asarray(logits, np.longdouble), np.asarray(labels)
    odds = np.exp(np.where(y == 1, x, -x))
    weight = np.where(y == 1, alpha, 1 - alpha) if alpha is not None else 1
    return (weight * (1 / (1 + odds)) ** gamma * np.log1p(1 / odds)).astype(float)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_sigmoid_matches_reference(alpha, gamma):
    logits = jnp.array([[-20.0, -3.0, 0.0], [0.1, 4.0, 20.0]])
    for labels in (jnp.zeros((2, 3), int), jnp.ones((2, 3), int)):
        loss = binary(logits, labels, alpha=alpha, gamma=gamma)
        expected = binary_reference(logits, labels, alpha, gamma)
        np.testing.assert_allclose(loss, expected, rtol=2e-5)


def test_sigmoid_in_half_precision_is_not_that_of_optax():
    logits = jnp.linspace(-8, 8, 4097).astype(jnp.bfloat16)
    labels = jnp.ones(4097, jnp.bfloat16)
    expected = binary_reference(logits.astype(jnp.float32), labels, None, 2.0)
    np.testing.assert_allclose(binary(logits, labels), expected, rtol=1e-5)
    theirs = jax.jit(optax.sigmoid_focal_loss)(logits, labels).astype(jnp.float32)
    assert 0.026 < np.abs(theirs - expected).max() < 0.028
    assert 0.025 < np.abs(theirs / expected - 1).max() < 0.035


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_sigmoid_gradient_is_finite_at_every_probability(gamma):
    logits = jnp.array([1e30, 1e4, 40.0, 0.0, -40.0, -1e4, -1e30])
    for y in (0.0, 0.3, 1.0):
        assert np.isfinite(binary_gradient(logits, jnp.full(7, y), gamma)).all()


def test_two_classes_are_one_binary_classification():
    logits, labels = example(shape=(6, 2))
    margins = logits[:, 1] - logits[:, 0]
    np.testing.assert_allclose(focal(logits, labels), binary(margins, labels), rtol=2e-5)


def test_sigmoid_bad_arguments_raise():
    unchecked = inspect.unwrap(sigmoid_focal_loss)
    logits, labels = jnp.zeros((2, 3)), jnp.zeros((2, 3), int)
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got 2\.0"):
        sigmoid_focal_loss(logits, labels, alpha=2.0)
    with pytest.raises(ValueError, match=r"gamma must be zero or positive, got -1\.0"):
        sigmoid_focal_loss(logits, labels, gamma=-1.0)
    with pytest.raises(ValueError, match=r"logits must be floating, got int32\[2, 3\]"):
        unchecked(labels, labels)
    with pytest.raises(ValueError, match=r"labels .*\[2, 3\], got \[2\]; make class"):
        unchecked(logits, labels[:, 0])
