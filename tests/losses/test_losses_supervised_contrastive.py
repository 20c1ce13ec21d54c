import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.losses import supervised_contrastive_loss

unchecked = inspect.unwrap(supervised_contrastive_loss)
LABELS = jnp.array([4, -1, 4, 4, -1, 9, 2**30, 2**30])  # the sixth has no positive
VIEWS = jnp.array([0, 1, 2, 3, 0, 1, 2, 3])


def reference(embeddings, labels, temperature):
    x, labels, out = np.float64(embeddings), np.asarray(labels), []
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    for i in range(len(z)):
        rest = [a for a in range(len(z)) if a != i]
        total = sum(np.exp(z[i] @ z[a] / temperature) for a in rest)
        terms = [
            -np.log(np.exp(z[i] @ z[p] / temperature) / total)
            for p in rest
            if labels[p] == labels[i]
        ]
        out.append(np.mean(terms) if terms else 0.0)
    return np.array(out)


def batch(seed=0, size=8, features=3):
    x = np.random.default_rng(seed).normal(size=(size, features))
    return jnp.asarray(x, jnp.float32)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 10.0])
def test_matches_loops_over_positives(temperature):
    loss = supervised_contrastive_loss(batch(), LABELS, temperature=temperature)
    expected = reference(batch(), LABELS, temperature)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-5)
    assert loss[5] == 0


def test_the_default_temperature_is_the_papers():
    loss = supervised_contrastive_loss(batch(), LABELS)
    np.testing.assert_allclose(loss, reference(batch(), LABELS, 0.1), rtol=1e-5)


def test_with_two_views_it_is_ntxent():
    x = batch()
    ours = supervised_contrastive_loss(x, VIEWS, temperature=0.3).mean()
    theirs = optax.losses.ntxent(x, VIEWS, temperature=0.3)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    three = jnp.array([0, 0, 0, 1, 1, 1, 2, 2])
    ours = supervised_contrastive_loss(x, three, temperature=0.3)
    assert ours.mean() > optax.losses.ntxent(x, three, temperature=0.3) + 0.1


@pytest.mark.parametrize("labels", [jnp.arange(4), jnp.zeros(4, int)])
def test_batches_without_positives_or_negatives(labels):
    def total(x):
        return supervised_contrastive_loss(x, labels).sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(batch(size=4))
    assert np.isfinite(gradient).all()
    if labels[1]:
        assert value == 0
        np.testing.assert_array_equal(gradient, np.zeros((4, 3)))
    else:
        expected = reference(batch(size=4), labels, 0.1).sum()
        np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_a_single_example_has_loss_and_gradient_zero():
    def total(x):
        return supervised_contrastive_loss(x, jnp.array([3])).sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(batch(size=1))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((1, 3)))


def test_gradients_are_finite_where_embeddings_coincide_or_are_zero():
    def total(x):
        return supervised_contrastive_loss(x, LABELS).sum()

    slope = jax.jit(jax.grad(total))
    for x in (jnp.ones((8, 3)), jnp.zeros((8, 3)), batch().at[3].set(0.0)):
        assert np.isfinite(slope(x)).all()
    guess = supervised_contrastive_loss(jnp.zeros((8, 3)), VIEWS)
    np.testing.assert_allclose(guess, np.full(8, np.log(7)), rtol=1e-6)


def test_a_small_temperature_is_stable():
    def total(x):
        return supervised_contrastive_loss(x, LABELS, temperature=1e-4).sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(batch())
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_invariances(seed, scale):
    rng, x = np.random.default_rng(seed), batch(seed)
    loss, order = supervised_contrastive_loss(x, LABELS), rng.permutation(8)
    shuffled = supervised_contrastive_loss(x[order], LABELS[order])
    np.testing.assert_allclose(shuffled, loss[order], 1e-4, 1e-5)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
    rotated = supervised_contrastive_loss(x @ rotation, LABELS)
    np.testing.assert_allclose(rotated, loss, 1e-4, 1e-4)
    lengths = scale * jnp.arange(1.0, 9.0)[:, None]
    scaled = supervised_contrastive_loss(lengths * x, LABELS)
    np.testing.assert_allclose(scaled, loss, 1e-4, 1e-4)


def test_it_gathers_classes_and_parts_them_without_a_pull_on_lengths():
    labels = jnp.array([0, 0, 1, 1, 2, 2])

    def mean(x):
        return supervised_contrastive_loss(x, labels, temperature=0.5).mean()

    slope, x = jax.jit(jax.grad(mean)), batch(size=6)
    radial = jnp.sum(slope(x) * x, axis=1)
    np.testing.assert_allclose(radial, np.zeros(6), atol=1e-6)
    for _ in range(200):
        x = x - 0.5 * slope(x)
    z = np.asarray(x / jnp.linalg.norm(x, axis=1, keepdims=True))
    cosines = z @ z.T
    same = np.asarray(labels)[:, None] == np.asarray(labels)[None]
    assert cosines[same].min() > 0.95
    assert cosines[~same].max() < -0.4  # three directions in space part by 120 degrees


X, Y = jnp.zeros((4, 3)), jnp.zeros(4, int)
BAD_INPUT = [
    (X[0], Y, r"embeddings must be floating .*got float32\[3\]"),
    (X, Y[:3], r"labels must be integers of shape \[4\] .*got int32\[3\]"),
    (X, X[:, 0], r"labels must be integers of shape \[4\] .*got float32\[4\]"),
]


@pytest.mark.parametrize(("embeddings", "labels", "message"), BAD_INPUT)
def test_bad_input_raises_when_traced(embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(unchecked, embeddings, labels)


def test_bad_temperature_raises():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        supervised_contrastive_loss(X, Y, temperature=0.0)
