import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.losses import confidence_penalty, cross_entropy


def example(seed=0, batch=6, classes=5):
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=(batch, classes)).astype(np.float32)
    return jnp.asarray(logits), jnp.asarray(rng.integers(0, classes, batch))


def softmax(logits):
    z = np.asarray(logits, np.float64)
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("threshold", [None, 0.8])
def test_matches_reference(threshold):
    logits, labels = example()
    expected = []
    for p, label in zip(softmax(logits), labels, strict=True):
        entropy = -(p * np.log(p)).sum()
        penalty = -entropy if threshold is None else max(0, threshold - entropy)
        expected.append(-np.log(p[label]) + 0.3 * penalty)
    loss = confidence_penalty(logits, labels, beta=0.3, threshold=threshold)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)


def test_gradient_is_p_minus_y_and_the_pull_to_more_entropy():
    logits, labels = example()
    gradient = jax.jit(jax.grad(lambda z: confidence_penalty(z, labels, beta=0.3).sum()))(
        logits
    )
    p = softmax(logits)
    entropy = -(p * np.log(p)).sum(-1, keepdims=True)
    expected = p - np.eye(5)[np.asarray(labels)] + 0.3 * p * (np.log(p) + entropy)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_beta_zero_is_cross_entropy():
    logits, labels = example()
    for threshold in (None, 1.0):
        np.testing.assert_array_equal(
            confidence_penalty(logits, labels, beta=0.0, threshold=threshold),
            cross_entropy(logits, labels),
        )


@given(st.integers(0, 10**6), st.floats(0, 2))
def test_the_threshold_log_k_is_the_first_form_and_a_constant(seed, beta):
    logits, labels = example(seed)
    log_k = float(np.log(5))
    plain = confidence_penalty(logits, labels, beta=beta)
    hinge = confidence_penalty(logits, labels, beta=beta, threshold=log_k)
    np.testing.assert_allclose(hinge, plain + beta * log_k, rtol=1e-5, atol=1e-5)
    assert (hinge >= cross_entropy(logits, labels) - 1e-5).all()


def test_confidence_has_an_optimum_that_cross_entropy_lacks():
    """For two classes the gradient is (1 - p)(β p m - 1) in the margin m."""
    beta, label = 0.5, jnp.array(0)

    def slope(margin, loss):
        return jax.jit(jax.grad(lambda m: loss(jnp.stack([m, 0.0]), label)))(margin)

    def penalised(logits, label):
        return confidence_penalty(logits, label, beta=beta)

    optimum = 2.0
    for _ in range(50):
        optimum = (1 + np.exp(-optimum)) / beta
    np.testing.assert_allclose(slope(optimum, penalised), 0, atol=1e-7)
    assert slope(optimum, cross_entropy) < -0.05
    assert slope(optimum + 1, penalised) > 0 > slope(optimum - 1, penalised)


def test_outputs_of_enough_entropy_are_left_alone():
    logits, labels = jnp.array([[0.5, 0.0, 0.0], [6.0, 0.0, 0.0]]), jnp.array([0, 0])
    loss = confidence_penalty(logits, labels, beta=0.3, threshold=0.5)
    plain = cross_entropy(logits, labels)
    assert loss[0] == plain[0]
    assert loss[1] > plain[1] + 0.1


def test_beta_may_be_traced():
    logits, labels = example()
    traced = jax.jit(lambda b: confidence_penalty(logits, labels, beta=b, threshold=b))
    eager = confidence_penalty(logits, labels, beta=0.7, threshold=0.7)
    np.testing.assert_allclose(traced(0.7), eager, rtol=1e-6)


@pytest.mark.parametrize("name", ["beta", "threshold"])
def test_bad_arguments_raise(name):
    logits, labels = example()
    with pytest.raises(ValueError, match=rf"{name} must be zero or positive, got -0\.1"):
        confidence_penalty(logits, labels, **{name: -0.1})
