"""What all losses of logits and labels do with labels that are not as they should be."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.losses import (
    confidence_penalty,
    cross_entropy,
    distillation,
    focal_loss,
    mean_squared_error,
    one_hot,
    pairwise_confusion,
)


def distilled(logits, labels):
    teacher = 0.5 * logits + 0.1
    return distillation(logits, labels, teacher, temperature=2.0, alpha=0.5)


OF_SOFTMAX = {
    "cross_entropy": cross_entropy,
    "confidence_penalty": confidence_penalty,
    "focal_loss": focal_loss,
    "pairwise_confusion": functools.partial(pairwise_confusion, weight=1.0),
    "distillation": distilled,
}
ALL = {**OF_SOFTMAX, "mean_squared_error": mean_squared_error}
all_losses = pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
LOGITS = jnp.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])


@all_losses
@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_is_an_error_if_known_and_nan_if_traced(loss, label):
    labels = jnp.array([1, label])
    with pytest.raises(ValueError, match=rf"must be in \[0, 3\), got {label}; replace"):
        loss(LOGITS, labels)
    with pytest.raises(ValueError, match=rf"must be in \[0, 3\), got {label}; replace"):
        jax.jit(lambda z: loss(z, labels))(LOGITS)
    assert np.isnan(jax.jit(loss)(LOGITS, labels)).tolist() == [False, True]


@all_losses
def test_labels_of_eight_bits_know_more_than_256_classes(loss):
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, 300)), jnp.float32)
    labels = jnp.array([5, 250])
    np.testing.assert_array_equal(
        loss(logits, labels.astype(jnp.uint8)), loss(logits, labels)
    )


@all_losses
def test_dense_one_hot_labels_are_integer_labels(loss):
    labels = jnp.array([2, 1])
    np.testing.assert_allclose(
        loss(LOGITS, one_hot(labels, 3)), loss(LOGITS, labels), rtol=1e-6
    )


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("loss", OF_SOFTMAX.values(), ids=OF_SOFTMAX)
def test_masked_classes_count_for_nothing(loss, dense):
    masked = jnp.insert(LOGITS, 1, -jnp.inf, axis=1)
    labels, shifted = jnp.array([2, 1]), jnp.array([3, 2])
    if dense:
        labels, shifted = one_hot(labels, 3), one_hot(shifted, 4)

    @jax.jit
    def with_gradient(z, y):
        value, pull = jax.vjp(lambda z: loss(z, y), z)
        return value, pull(jnp.ones_like(value))[0]

    value, gradient = with_gradient(masked, shifted)
    expected, expected_gradient = with_gradient(LOGITS, labels)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    seen = np.delete(gradient, 1, axis=1)
    np.testing.assert_allclose(seen, expected_gradient, 1e-5, 1e-6)
    assert (gradient[:, 1] == 0).all()


def test_known_labels_may_be_sharded():
    mesh = jax.make_mesh((8,), ("batch",))
    sharding = jax.NamedSharding(mesh, jax.P("batch"))
    labels = jax.device_put(jnp.arange(8), sharding)
    assert (cross_entropy(jnp.zeros((8, 8)), labels) > 0).all()
    with pytest.raises(ValueError, match=r"in \[0, 7\), got 7"):
        cross_entropy(jnp.zeros((8, 7)), labels)


WITH_MORE = {
    pairwise_confusion: {"weight": 1.0},
    distillation: {"teacher_logits": LOGITS, "temperature": 2.0, "alpha": 0.5},
}
FUNCTIONS = [
    cross_entropy,
    confidence_penalty,
    focal_loss,
    mean_squared_error,
    *WITH_MORE,
]


def test_one_example_needs_no_axis_of_the_batch_and_a_score_has_classes(monkeypatch):
    loss = inspect.unwrap(cross_entropy)
    assert loss(LOGITS[0], jnp.array(1)).shape == ()
    with pytest.raises(ValueError, match="must have the classes as last axis, got a sc"):
        loss(jnp.float32(1), jnp.array(1))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_bad_shapes_and_dtypes_are_named(function, monkeypatch):
    more, loss = WITH_MORE.get(function, {}), inspect.unwrap(function)
    monkeypatch.setitem(loss.__globals__, "cross_entropy", inspect.unwrap(cross_entropy))
    labels = jnp.array([0, 1])
    with pytest.raises(ValueError, match=r"must have shape .*class indices must be int"):
        loss(LOGITS, labels.astype(jnp.float32), **more)
    with pytest.raises(ValueError, match=r"one-hot labels must be floating"):
        loss(LOGITS, jnp.zeros((2, 3), int), **more)
    with pytest.raises(ValueError, match=r"must be integers or floating, got bool\[2\]"):
        loss(LOGITS, labels.astype(bool), **more)
    with pytest.raises(ValueError, match=r"must be floating, got int32\[2, 3\]"):
        loss(LOGITS.astype(int), labels, **more)
