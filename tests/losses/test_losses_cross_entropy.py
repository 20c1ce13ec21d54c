import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.losses import cross_entropy

unchecked = inspect.unwrap(cross_entropy)


def reference(logits, dense, smoothing=0.0):
    z = np.asarray(logits, np.float64)
    z = z - z.max(-1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    q = (1 - smoothing) * np.asarray(dense, np.float64) + smoothing / z.shape[-1]
    return -(q * log_p).sum(-1)


def example(seed=0, shape=(6, 5), scale=3.0):
    rng = np.random.default_rng(seed)
    logits = scale * rng.normal(size=shape).astype(np.float32)
    labels = rng.integers(0, shape[-1], shape[:-1]).astype(np.int32)
    mixed = rng.dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)
    return jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(mixed)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 4), (7,), (3, 1)])
def test_matches_reference(shape, smoothing):
    logits, labels, mixed = example(shape=shape)
    one_hot = np.eye(shape[-1])[np.asarray(labels)]
    by_index = cross_entropy(logits, labels, label_smoothing=smoothing)
    by_mixture = cross_entropy(logits, mixed, label_smoothing=smoothing)
    assert by_index.shape == by_mixture.shape == shape[:-1]
    expected = reference(logits, one_hot, smoothing)
    np.testing.assert_allclose(by_index, expected, rtol=1e-5, atol=1e-6)
    expected = reference(logits, mixed, smoothing)
    np.testing.assert_allclose(by_mixture, expected, rtol=1e-5, atol=1e-6)


def test_without_smoothing_it_is_optax():
    logits, labels, mixed = example()
    theirs = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    np.testing.assert_allclose(cross_entropy(logits, labels), theirs, rtol=1e-6)
    theirs = optax.softmax_cross_entropy(logits, mixed)
    np.testing.assert_allclose(cross_entropy(logits, mixed), theirs, rtol=1e-6)


def test_smoothing_is_optax_smooth_labels():
    logits, labels, _ = example()
    smooth = optax.smooth_labels(jax.nn.one_hot(labels, 5), 0.2)
    theirs = optax.softmax_cross_entropy(logits, smooth)
    ours = cross_entropy(logits, labels, label_smoothing=0.2)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradient_is_p_minus_q(smoothing):
    logits, labels, mixed = example()
    p = np.exp(np.asarray(jax.nn.log_softmax(logits), np.float64))
    for given_labels, dense in ((labels, np.eye(5)[np.asarray(labels)]), (mixed, mixed)):
        gradient = jax.grad(
            lambda z, y: cross_entropy(z, y, label_smoothing=smoothing).sum()
        )(logits, given_labels)
        q = (1 - smoothing) * np.asarray(dense, np.float64) + smoothing / 5
        np.testing.assert_allclose(gradient, p - q, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(dtype):
    logits, labels, mixed = example()
    logits = logits.astype(dtype)
    for y in (labels, mixed, mixed.astype(dtype)):
        loss = cross_entropy(logits, y, label_smoothing=0.1)
        assert loss.dtype == jnp.float32
        wide = cross_entropy(
            logits.astype(jnp.float32),
            y if y is labels else y.astype(jnp.float32),
            label_smoothing=0.1,
        )
        np.testing.assert_array_equal(loss, wide)


def test_float64_is_kept():
    with jax.enable_x64(True):
        logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
        labels = jnp.array([0, 1, 2, 0])
        loss = cross_entropy(logits, labels, label_smoothing=0.1)
        assert loss.dtype == jnp.float64
        expected = reference(logits, np.eye(3)[np.asarray(labels)], 0.1)
        np.testing.assert_allclose(loss, expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int8, jnp.int32, jnp.uint32])
def test_any_integer_dtype_labels(dtype):
    logits, labels, _ = example()
    np.testing.assert_array_equal(
        cross_entropy(logits, labels.astype(dtype)), cross_entropy(logits, labels)
    )


@pytest.mark.parametrize("magnitude", [1e4, 1e30])
def test_large_logits_are_stable(magnitude):
    logits = jnp.array([[magnitude, 0.0, -magnitude], [0.5, 0.0, 0.0]])
    labels = jnp.array([0, 1])

    def total(z):
        return cross_entropy(z, labels, label_smoothing=0.1).sum()

    loss, gradient = jax.value_and_grad(total)(logits)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert cross_entropy(logits, labels)[0] == 0


def test_common_offset_changes_nothing():
    logits = jnp.array([[1.0, 2.0, 4.0]])
    far = cross_entropy(logits + 2.0**20, jnp.array([1]))
    np.testing.assert_allclose(far, cross_entropy(logits, jnp.array([1])), rtol=1e-6)


def test_masked_classes_count_for_nothing():
    logits = jnp.array([[1.0, -jnp.inf, 2.0]])
    expected = cross_entropy(jnp.array([[1.0, 2.0]]), jnp.array([1]))
    for labels in (jnp.array([2]), jnp.array([[0.0, 0.0, 1.0]])):

        def total(z, y=labels):
            return cross_entropy(z, y).sum()

        np.testing.assert_allclose(cross_entropy(logits, labels), expected, rtol=1e-6)
        assert np.isfinite(jax.grad(total)(logits)).all()


@pytest.mark.parametrize("label", [-1, 3, 100])
def test_label_out_of_range_is_nan_if_traced_and_can_be_left_out(label):
    logits, labels = jnp.zeros((2, 3)), jnp.array([label, 0])
    traced = jax.jit(cross_entropy)(logits, labels)
    assert np.isnan(traced).tolist() == [True, False]

    def total(z, labels):
        valid = labels == 0
        return jnp.where(valid, cross_entropy(z, labels), 0).sum()

    assert np.isfinite(jax.jit(jax.grad(total))(logits, labels)).all()


@pytest.mark.parametrize("label", [-1, 3, 100])
def test_label_known_to_be_out_of_range_raises_and_can_be_left_out(label):
    logits, labels = jnp.zeros((2, 3)), jnp.array([0, label])
    message = rf"labels must be in \[0, 3\), got {label}; replace it by 0 and"
    with pytest.raises(ValueError, match=message):
        cross_entropy(logits, labels)
    valid = (labels >= 0) & (labels < 3)
    loss = jnp.where(valid, cross_entropy(logits, jnp.where(valid, labels, 0)), 0)
    np.testing.assert_allclose(loss, [np.log(3), 0], rtol=1e-6)


def test_jit_and_vmap_agree():
    logits, labels, mixed = example()
    for y in (labels, mixed):
        eager = cross_entropy(logits, y, label_smoothing=0.1)
        traced = jax.jit(lambda z, y, s: cross_entropy(z, y, label_smoothing=s))
        np.testing.assert_allclose(traced(logits, y, 0.1), eager, rtol=1e-6)
        mapped = jax.vmap(lambda z, y: cross_entropy(z, y, label_smoothing=0.1))
        np.testing.assert_allclose(mapped(logits, y), eager, rtol=1e-6)


@given(st.integers(0, 10**6), st.integers(2, 8), st.floats(0, 1), st.floats(-50, 50))
def test_bounds_and_invariances(seed, classes, smoothing, offset):
    logits, labels, _ = example(seed, (4, classes))

    def loss(z, y):
        return cross_entropy(z, y, label_smoothing=smoothing)

    values = loss(logits, labels)
    assert (values >= -1e-6).all()
    np.testing.assert_allclose(loss(logits + offset, labels), values, 1e-4, 1e-4)
    reversed_classes = loss(logits[:, ::-1], classes - 1 - labels)
    np.testing.assert_allclose(reversed_classes, values, rtol=1e-5, atol=1e-5)
    uniform = loss(jnp.zeros_like(logits), labels)
    np.testing.assert_allclose(uniform, np.full(4, np.log(classes)), rtol=1e-6)


def test_smoothing_moves_the_optimum():
    at_optimum = jnp.log(jnp.array([[0.9, 0.05, 0.05]]))
    overconfident = jnp.array([[20.0, 0.0, 0.0]])
    label = jnp.array([0])
    smoothed = [
        cross_entropy(z, label, label_smoothing=0.15)[0]
        for z in (at_optimum, overconfident)
    ]
    plain = [cross_entropy(z, label)[0] for z in (at_optimum, overconfident)]
    assert smoothed[0] < smoothed[1]
    assert plain[0] > plain[1]


BAD_INPUT = [
    (jnp.zeros((4, 3)), jnp.zeros((4, 1), int), r"int32 .*shape \[4\] .*got \[4, 1\]"),
    (jnp.zeros((4, 3)), jnp.zeros((4, 3), int), "one-hot labels must be floating"),
    (jnp.zeros((4, 3)), jnp.zeros(5, int), r"labels .*shape \[4\] .*got \[5\]"),
    (jnp.zeros((4, 3)), jnp.zeros((4, 2)), r"shape \[4, 3\] .*got \[4, 2\]"),
    (jnp.zeros((4, 3)), jnp.zeros(4), "class indices must be integers"),
    (jnp.zeros((4, 3)), jnp.zeros(4, bool), r"labels must be integers .*bool\[4\]"),
    (jnp.zeros((4, 3), int), jnp.zeros(4, int), r"logits must be .*int32\[4, 3\]"),
    (jnp.zeros(()), jnp.zeros((), int), "logits must have the classes as last axis"),
]


@pytest.mark.parametrize(("logits", "labels", "message"), BAD_INPUT)
def test_bad_input_raises_when_traced(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(unchecked, logits, labels)


@pytest.mark.parametrize("smoothing", [-0.1, 1.5])
def test_bad_smoothing_raises(smoothing):
    logits, labels, _ = example()
    message = rf"label_smoothing must be in \[0, 1\], got {smoothing}"
    with pytest.raises(ValueError, match=message):
        cross_entropy(logits, labels, label_smoothing=smoothing)
