import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.losses import center_loss, update_centers

LABELS = jnp.array([0, 3, 3, 1, 3, 0])  # none of class 2


def example(seed=0):
    rng = np.random.default_rng(seed)
    x, centers = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    return jnp.asarray(x, jnp.float32), jnp.asarray(centers, jnp.float32)


def updated(centers, x, labels, alpha):
    centers, x = np.float64(centers), np.float64(x)
    new = centers.copy()
    for j in range(len(centers)):
        own = [x[i] for i in range(len(x)) if labels[i] == j]
        delta = sum((centers[j] - row for row in own), np.zeros(3)) / (1 + len(own))
        new[j] = centers[j] - alpha * delta
    return new


def test_loss_matches_a_loop_over_examples():
    x, centers = example()
    expected = [
        sum((np.float64(x[i]) - np.float64(centers[y])) ** 2) / 2
        for i, y in enumerate(LABELS.tolist())
    ]
    np.testing.assert_allclose(center_loss(x, LABELS, centers), expected, rtol=1e-6)


def test_the_gradient_is_the_way_from_the_centre_and_none_goes_to_centres():
    x, centers = example()

    def total(x, centers):
        return center_loss(x, LABELS, centers).sum()

    of_x, of_centers = jax.jit(jax.grad(total, (0, 1)))(x, centers)
    np.testing.assert_allclose(of_x, x - centers[LABELS], rtol=1e-6)
    np.testing.assert_array_equal(of_centers, np.zeros((4, 3)))


@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0])
def test_update_matches_a_loop_over_classes(alpha):
    x, centers = example()
    new = update_centers(centers, x, LABELS, alpha=alpha)
    expected = updated(centers, x, LABELS.tolist(), alpha)
    np.testing.assert_allclose(new, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(new[2], centers[2])


def test_the_default_alpha_is_the_papers():
    x, centers = example()
    half = update_centers(centers, x, LABELS, alpha=0.5)
    np.testing.assert_array_equal(update_centers(centers, x, LABELS), half)
    still = update_centers(centers, x, LABELS, alpha=0.0)
    np.testing.assert_array_equal(still, centers)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_centers_keep_their_dtype_and_move_in_float32(dtype):
    x, centers = (z.astype(dtype) for z in example())
    new = update_centers(centers, x, LABELS)
    assert new.dtype == dtype
    wide = update_centers(centers.astype(jnp.float32), x, LABELS)
    np.testing.assert_array_equal(new, wide.astype(dtype))


def test_it_is_a_state_that_scan_carries_and_nears_the_mean_of_the_class():
    x, centers = example()

    def step(centers, _):
        return update_centers(centers, x, LABELS), None

    final, _ = jax.jit(lambda c: jax.lax.scan(step, c, length=80))(centers)
    for j in (0, 1, 3):
        mean = np.asarray(x)[np.asarray(LABELS) == j].mean(0)
        np.testing.assert_allclose(final[j], mean, atol=1e-5)


def test_no_class_far_from_the_origin_is_lost_to_cancelling():
    x = jnp.array([[4096.0, 0.25, 0.0]])
    centers = jnp.array([[4096.0, 0.0, 0.0]])
    labels = jnp.array([0])
    np.testing.assert_array_equal(center_loss(x, labels, centers), [0.03125])
    new = update_centers(centers, x, labels)
    np.testing.assert_array_equal(new, [[4096.0, 0.0625, 0.0]])


@pytest.mark.parametrize("label", [-1, 4, 100])
def test_a_label_that_is_no_class(label):
    x, centers = example()
    bad = LABELS.at[1].set(label)
    for call in (
        lambda: center_loss(x, bad, centers),
        lambda: update_centers(centers, x, bad),
    ):
        with pytest.raises(ValueError, match=rf"labels must be in \[0, 4\), got {label}"):
            call()
    loss = jax.jit(center_loss)(x, bad, centers)
    assert np.isnan(loss).tolist() == [False, True, False, False, False, False]

    @jax.jit
    def slope(x, labels):
        def total(x):
            return jnp.where(labels == label, 0, center_loss(x, labels, centers)).sum()

        return jax.grad(total)(x)

    assert np.isfinite(slope(x, bad)).all()
    without = update_centers(centers, jnp.delete(x, 1, 0), jnp.delete(LABELS, 1))
    np.testing.assert_allclose(jax.jit(update_centers)(centers, x, bad), without, 1e-6)


@given(st.integers(0, 10**6))
def test_invariances(seed):
    rng, (x, centers) = np.random.default_rng(seed), example(seed)
    loss, new = center_loss(x, LABELS, centers), update_centers(centers, x, LABELS)
    order, classes = rng.permutation(6), rng.permutation(4)
    shuffled = center_loss(x[order], LABELS[order], centers)
    np.testing.assert_allclose(shuffled, loss[order], 1e-6)
    again = update_centers(centers, x[order], LABELS[order])
    np.testing.assert_allclose(again, new, 1e-4, 1e-6)
    renamed = jnp.argsort(classes)[LABELS]
    np.testing.assert_allclose(center_loss(x, renamed, centers[classes]), loss, 1e-6)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
    rotated = update_centers(centers @ rotation, x @ rotation, LABELS)
    np.testing.assert_allclose(rotated, new @ rotation, 1e-4, 1e-5)


X, Y, C = jnp.zeros((4, 3)), jnp.zeros(4, int), jnp.zeros((5, 3))
BAD_INPUT = [
    (X[0], Y, C, r"embeddings must be floating .*got float32\[3\]"),
    (X, Y[:3], C, r"labels must be integers of shape \[4\] .*got int32\[3\]"),
    (X, Y, C[:, :2], r"centers must be .*\[classes, 3\] .*got float32\[5, 2\]; start"),
    (X, Y, C.astype(int), r"centers must be floating .*got int32\[5, 3\]"),
]


@pytest.mark.parametrize(("x", "labels", "centers", "message"), BAD_INPUT)
def test_bad_input_raises_when_traced(x, labels, centers, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(inspect.unwrap(center_loss), x, labels, centers)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(inspect.unwrap(update_centers), centers, x, labels)


def test_bad_alpha_raises():
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got 1.5"):
        update_centers(C, X, Y, alpha=1.5)
