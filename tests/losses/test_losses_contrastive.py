import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.losses import contrastive_loss

unchecked = inspect.unwrap(contrastive_loss)


def reference(a, b, same, margin=1.0):
    out = []
    for u, v, together in zip(np.float64(a), np.float64(b), same, strict=True):
        d = np.sqrt(sum((p - q) ** 2 for p, q in zip(u, v, strict=True)))
        out.append(d**2 / 2 if together else max(0.0, margin - d) ** 2 / 2)
    return np.array(out)


def pairs(seed=0, batch=8, features=3):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, batch, features)).astype(np.float32)
    return jnp.asarray(a), jnp.asarray(b), jnp.asarray(rng.integers(0, 2, batch) == 1)


@pytest.mark.parametrize("margin", [1.0, 1.5, 3.0])
def test_matches_a_loop_over_pairs(margin):
    a, b, same = pairs(batch=32)
    loss = contrastive_loss(a, b, same, margin=margin)
    expected = reference(a, b, same, margin)
    assert ((expected > 0) & ~np.asarray(same)).any()
    np.testing.assert_allclose(loss, expected, rtol=2e-6, atol=1e-7)


def test_the_upper_triangle_gives_all_pairs_of_a_batch():
    x, _, _ = pairs()
    labels = jnp.array([0, 1, 0, 2, 2, 1, 0, 3])
    i, j = jnp.triu_indices(8, k=1)
    total = contrastive_loss(x[i], x[j], labels[i] == labels[j], margin=2.0).sum()
    x, labels, expected = np.asarray(x), np.asarray(labels), 0.0
    for p in range(8):
        for q in range(p):
            same = [labels[p] == labels[q]]
            expected += reference(x[p : p + 1], x[q : q + 1], same, 2.0)[0]
    np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_the_gradient_points_along_the_pair():
    a, b, same = pairs(batch=32)

    @jax.jit
    @jax.grad
    def slope(a):
        return contrastive_loss(a, b, same, margin=2.0).sum()

    gradient = slope(a)
    difference = np.float64(a) - np.float64(b)
    d = np.linalg.norm(difference, axis=1, keepdims=True)
    apart = np.where(d < 2.0, -(2.0 - d) / d * difference, 0)
    expected = np.where(np.asarray(same)[:, None], difference, apart)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_equal_embeddings_have_gradient_zero():
    x, same = jnp.ones((2, 3)), jnp.array([True, False])

    def total(a, b):
        return contrastive_loss(a, b, same).sum()

    np.testing.assert_array_equal(contrastive_loss(x, x, same), [0, 0.5])
    for gradient in jax.jit(jax.grad(total, (0, 1)))(x, x):
        np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_neighbours_far_from_the_origin(dtype):
    a = jnp.full((1, 4), 1024, dtype)
    b = a.at[0, 0].add(8)
    loss = contrastive_loss(a, b, jnp.array([True]))
    np.testing.assert_array_equal(loss, [32.0])


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_invariances(seed, scale):
    a, b, same = pairs(seed)
    loss = contrastive_loss(a, b, same)
    np.testing.assert_array_equal(contrastive_loss(b, a, same), loss)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    rotation = rotation.astype(np.float32)
    rotated = contrastive_loss(a @ rotation, b @ rotation, same)
    np.testing.assert_allclose(rotated, loss, rtol=1e-4, atol=1e-5)
    scaled = contrastive_loss(scale * a, scale * b, same, margin=scale)
    np.testing.assert_allclose(scaled, scale**2 * loss, rtol=1e-4, atol=1e-4)


def test_it_draws_together_and_pushes_to_the_margin_and_no_further():
    a = jnp.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    b = jnp.array([[0.5, 0.5], [0.5, 0.5], [3.0, 4.0]])
    same = jnp.array([True, False, False])
    slope = jax.jit(jax.grad(lambda b: contrastive_loss(a, b, same, margin=2.0).sum()))
    moved = b
    for _ in range(60):
        moved = moved - 0.2 * slope(moved)
    np.testing.assert_allclose(jnp.linalg.norm(moved, axis=1), [0, 2, 5], atol=1e-3)
    np.testing.assert_array_equal(moved[2], b[2])


X = jnp.zeros((4, 3))
BAD_INPUT = [
    (X, X[:3], X[:, 0] > 0, r"a and b must have one shape, got \[4, 3\] and \[3, 3\]"),
    (X[0], X[0], X[:3, 0] > 0, r"a must be floating .*got float32\[3\]; reshape"),
    (X, X.astype(int), X[:, 0] > 0, r"b must be floating .*got int32\[4, 3\]"),
    (X, X, X[:, 0], r"same must be boolean of shape \[4\], got float32\[4\]; compare"),
    (X, X, X > 0, r"same must be boolean of shape \[4\], got bool\[4, 3\]"),
]


@pytest.mark.parametrize(("a", "b", "same", "message"), BAD_INPUT)
def test_bad_input_raises_when_traced(a, b, same, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(unchecked, a, b, same)


def test_bad_margin_raises():
    a, b, same = pairs()
    with pytest.raises(ValueError, match=r"margin must be positive, got 0\.0"):
        contrastive_loss(a, b, same, margin=0.0)
