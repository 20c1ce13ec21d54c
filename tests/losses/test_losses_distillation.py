import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.losses import cross_entropy, distillation


def example(seed=0):
    rng = np.random.default_rng(seed)
    logits, teacher = 3 * rng.normal(size=(2, 6, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 6).astype(np.int32)
    return jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(teacher)


def softmax(z):
    e = np.exp(np.asarray(z, np.float64))
    return e / e.sum(-1, keepdims=True)


def soft_loss(logits, labels, teacher, temperature):
    return distillation(logits, labels, teacher, temperature=temperature, alpha=0.0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_matches_reference(temperature):
    logits, labels, teacher = example()
    hard = -np.log(softmax(logits)[np.arange(6), np.asarray(labels)])
    p = softmax(np.asarray(logits, np.float64) / temperature)
    q = softmax(np.asarray(teacher, np.float64) / temperature)
    soft = temperature**2 * (q * np.log(q / p)).sum(-1)
    loss = distillation(logits, labels, teacher, temperature=temperature, alpha=0.3)
    np.testing.assert_allclose(loss, 0.3 * hard + 0.7 * soft, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradient_is_that_of_the_cross_entropy_to_the_teacher(temperature):
    logits, labels, teacher = example()
    gradient, to_teacher = jax.jit(
        jax.grad(lambda z, t: soft_loss(z, labels, t, temperature).sum(), (0, 1))
    )(logits, teacher)
    t = temperature
    p, q = softmax(np.asarray(logits) / t), softmax(np.asarray(teacher) / t)
    np.testing.assert_allclose(gradient, t * (p - q), atol=2e-6)
    np.testing.assert_array_equal(to_teacher, jnp.zeros_like(teacher))


def test_at_high_temperature_logits_are_matched():
    """Section 2.1 of the source: the gradient tends to (z - v) / K for centred logits."""
    logits, labels, teacher = example()
    z, v = (x - x.mean(-1, keepdims=True) for x in (logits, teacher))
    with jax.enable_x64(True):
        z, v = (jnp.asarray(np.asarray(x, np.float64)) for x in (z, v))
        gradient = jax.jit(jax.grad(lambda z: soft_loss(z, labels, v, 1e4).sum()))(z)
        np.testing.assert_allclose(gradient, (z - v) / 5, atol=1e-3)


def test_alpha_one_is_cross_entropy_and_a_student_like_its_teacher_has_no_soft_loss():
    logits, labels, teacher = example()
    hard = distillation(logits, labels, teacher, temperature=4.0, alpha=1.0)
    np.testing.assert_array_equal(hard, cross_entropy(logits, labels))
    equal = soft_loss(teacher, labels, teacher, 3.0)
    np.testing.assert_array_equal(equal, jnp.zeros(6))


@given(st.integers(0, 10**6), st.floats(0.5, 10))
def test_soft_loss_is_positive_and_blind_to_offsets(seed, temperature):
    logits, labels, teacher = example(seed)
    loss = soft_loss(logits, labels, teacher, temperature)
    assert (loss > 0).all()
    moved = soft_loss(logits + 3.0, labels, teacher - 2.0, temperature)
    np.testing.assert_allclose(moved, loss, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("temperature", [4.0, 20.0, 100.0])
def test_near_the_teacher_it_is_precise_and_never_negative(temperature):
    rng = np.random.default_rng(0)
    teacher = 3 * rng.normal(size=(1000, 100)).astype(np.float32)
    logits = teacher + 0.05 * rng.normal(size=teacher.shape).astype(np.float32)
    labels = jnp.zeros(1000, int)

    def total(z):
        loss = soft_loss(z, labels, jnp.asarray(teacher), temperature)
        return loss.sum(), loss

    gradient, loss = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(logits))
    t, z, v = temperature, np.asarray(logits, np.float64), np.asarray(teacher, np.float64)
    p, q = softmax(z / t), softmax(v / t)
    np.testing.assert_allclose(loss, t**2 * (q * np.log(q / p)).sum(-1), rtol=1e-3)
    assert (loss >= 0).all()
    expected = t * (p - q)
    atol = 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=atol)


def test_far_from_the_teacher_it_is_finite_and_exact():
    """Either leaves out what the other is sure of, by more than float32 can tell."""
    logits, labels = jnp.array([[0.0, 300.0], [200.0, 0.0]]), jnp.array([0, 0])
    teacher = jnp.array([[0.0, 0.0], [0.0, 200.0]])

    def total(z):
        loss = soft_loss(z, labels, teacher, 1.0)
        return loss.sum(), loss

    gradient, loss = jax.jit(jax.grad(total, has_aux=True))(logits)
    np.testing.assert_allclose(loss, [150 - np.log(2), 200], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-0.5, 0.5], [1, -1]], atol=1e-6)


@pytest.mark.parametrize("masked_by", ["student", "teacher", "both"])
def test_masked_classes(masked_by):
    """With alpha=1 the teacher's divergence does not count, were it infinite."""
    z, masked = jnp.array([1.0, 0.5, 0.0]), jnp.array([1.0, -jnp.inf, 0.0])
    logits = z if masked_by == "teacher" else masked
    teacher = z if masked_by == "student" else masked
    label = jnp.array(0)

    @jax.jit
    @jax.value_and_grad
    def both(z, a):
        return distillation(z, label, teacher, temperature=4.0, alpha=a)

    expected = jax.jit(jax.value_and_grad(lambda z: cross_entropy(z, label)))(logits)
    for ours, theirs in zip(both(logits, 1.0), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    loss, gradient = both(logits, 0.0)
    p, q = softmax(logits / 4), softmax(teacher / 4)
    at = q > 0
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(
            loss, 16 * (q[at] * np.log(q[at] / p[at])).sum(), rtol=1e-5
        )
    np.testing.assert_allclose(gradient, 4 * (p - q), atol=1e-6)


def test_alpha_zero_is_the_divergence_where_a_masked_class_is_the_label():
    masked = jnp.array([1.0, -jnp.inf, 0.0])
    loss = soft_loss(masked, jnp.array(1), masked, 4.0)
    assert loss == 0


def test_a_teacher_in_half_precision_is_widened():
    logits, labels, teacher = example()
    half = teacher.astype(jnp.bfloat16)
    np.testing.assert_array_equal(
        soft_loss(logits, labels, half, 4.0),
        soft_loss(logits, labels, half.astype(jnp.float32), 4.0),
    )


def test_numbers_may_be_traced():
    logits, labels, teacher = example()
    traced = jax.jit(
        lambda t, a: distillation(logits, labels, teacher, temperature=t, alpha=a)
    )
    eager = distillation(logits, labels, teacher, temperature=2.0, alpha=0.3)
    np.testing.assert_allclose(traced(2.0, 0.3), eager, rtol=1e-5)


def test_bad_arguments_raise():
    logits, labels, teacher = example()
    unchecked = inspect.unwrap(distillation)
    for name, value, message in [
        ("temperature", 0.0, r"must be positive, got 0\.0"),
        ("temperature", float("inf"), "must be a finite number, got inf"),
        ("alpha", 1.5, r"must be in \[0, 1\], got 1\.5"),
    ]:
        given_numbers = {"temperature": 4.0, "alpha": 0.1, name: value}
        with pytest.raises(ValueError, match=f"{name} {message}"):
            distillation(logits, labels, teacher, **given_numbers)
    for wrong in (teacher[:, :4], teacher.astype(int)):
        with pytest.raises(ValueError, match=r"teacher_logits .*\[6, 5\] .*both nets"):
            unchecked(logits, labels, wrong, temperature=4.0, alpha=0.1)
