"""The decays of compat.tf1 have the values that TensorFlow 1 documents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.compat import tf1

STEPS = 120


def polynomial(lr, t, steps, end=1e-4, power=1.0, cycle=False):
    if cycle:
        steps = steps * np.maximum(np.ceil(t / steps), 1)
    else:
        t = np.minimum(t, steps)
    return (lr - end) * (1 - t / steps) ** power + end


def restarts(lr, t, first, t_mul=2.0, m_mul=1.0, alpha=0.0):
    values = []
    for now in t:
        length, height = first, 1.0
        while now >= length:
            now, length, height = now - length, length * t_mul, height * m_mul
        cosine = 0.5 * height * (1 + np.cos(np.pi * now / length))
        values.append((1 - alpha) * cosine + alpha)
    return lr * np.array(values)


def linear_cosine(lr, t, steps, num_periods=0.5, alpha=0.0, beta=0.001):
    done = np.minimum(t, steps) / steps
    cosine = 0.5 * (1 + np.cos(np.pi * 2 * num_periods * done))
    return lr * ((alpha + 1 - done) * cosine + beta)


DECAYS = [
    (
        tf1.piecewise_constant,
        ([10, 30], [0.3, 0.2, 0.7]),
        lambda t: np.select([t <= 10, t <= 30], [0.3, 0.2], 0.7),
    ),
    (tf1.exponential_decay, (0.3, 7, 0.8), lambda t: 0.3 * 0.8 ** (t / 7)),
    (tf1.exponential_decay, (0.3, 7, 0.8, True), lambda t: 0.3 * 0.8 ** (t // 7)),
    (tf1.natural_exp_decay, (0.3, 7, 0.8), lambda t: 0.3 * np.exp(-0.8 * t / 7)),
    (
        tf1.natural_exp_decay,
        (0.3, 41, 0.8, True),
        lambda t: 0.3 * np.exp(-0.8 * np.floor(t / 41)),
    ),
    (tf1.inverse_time_decay, (0.3, 7, 0.8), lambda t: 0.3 / (1 + 0.8 * t / 7)),
    (tf1.inverse_time_decay, (0.3, 7, 0.8, True), lambda t: 0.3 / (1 + 0.8 * (t // 7))),
    (tf1.polynomial_decay, (0.3, 50), lambda t: polynomial(0.3, t, 50)),
    (
        tf1.polynomial_decay,
        (0.3, 20, 0.01, 2.0, True),
        lambda t: polynomial(0.3, t, 20, 0.01, 2.0, True),
    ),
    (
        tf1.cosine_decay,
        (0.3, 50, 0.1),
        lambda t: 0.3 * (0.9 * 0.5 * (1 + np.cos(np.pi * np.minimum(t, 50) / 50)) + 0.1),
    ),
    (tf1.cosine_decay_restarts, (0.3, 9), lambda t: restarts(0.3, t, 9)),
    (
        tf1.cosine_decay_restarts,
        (0.3, 9, 1.0, 0.8, 0.1),
        lambda t: restarts(0.3, t, 9, 1.0, 0.8, 0.1),
    ),
    (tf1.linear_cosine_decay, (0.3, 50), lambda t: linear_cosine(0.3, t, 50)),
    (
        tf1.linear_cosine_decay,
        (0.3, 50, 1.5, 0.1, 0.02),
        lambda t: linear_cosine(0.3, t, 50, 1.5, 0.1, 0.02),
    ),
]


@pytest.mark.parametrize(("make", "arguments", "formula"), DECAYS)
def test_a_decay_has_the_documented_values(make, arguments, formula):
    want = formula(np.arange(STEPS))
    for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-13)):
        with jax.enable_x64(dtype == "float64"):
            got = jax.jit(make(*arguments))(jnp.arange(STEPS))
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * 0.3)


def test_the_noise_has_the_documented_variance():
    keys = jax.random.split(jax.random.key(0), 4000)

    def value(key):
        noisy = tf1.noisy_linear_cosine_decay(0.3, 50, 0.5, 0.7, 0.5, 0.1, 0.02, key=key)
        return noisy(jnp.array([0, 20, 50, 90]))

    got = np.asarray(jax.jit(jax.vmap(value))(keys), np.float64)
    t = np.array([0, 20, 50, 90])
    calm = linear_cosine(0.3, t, 50, 0.5, 0.1, 0.02)
    cosine = 0.5 * (1 + np.cos(np.pi * np.minimum(t, 50) / 50))
    spread = 0.3 * cosine * np.sqrt(0.5 / (1 + np.minimum(t, 50)) ** 0.7)
    # Five standard errors of a mean and of a standard deviation.
    assert (np.abs(got.mean(0) - calm) <= 5 * spread / np.sqrt(4000) + 1e-7).all()
    assert (np.abs(got.std(0) - spread) <= 5 * spread / np.sqrt(8000) + 1e-7).all()


def test_one_step_is_the_least():
    t = jnp.arange(3)
    found = jax.jit(lambda: [
        tf1.exponential_decay(1.0, 1, 0.5)(t), tf1.natural_exp_decay(1.0, 1, 1.0)(t),
        tf1.inverse_time_decay(1.0, 1, 1.0)(t), tf1.polynomial_decay(1.0, 1, 0.5)(t),
    ])()  # fmt: skip
    want = [[1, 0.5, 0.25], np.exp([0, -1, -2]), [1, 1 / 2, 1 / 3], [1, 0.5, 0.5]]
    np.testing.assert_allclose(found, want, rtol=1e-6)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: tf1.piecewise_constant([10], [0.1]), "one longer than boundaries"),
    (lambda: tf1.piecewise_constant([-5], [0.1, 0.2]), r"boundaries\[0\] must be at"),
    (lambda: tf1.exponential_decay(0.1, 0, 0.5), "decay_steps must be at least 1, got 0"),
    (lambda: tf1.polynomial_decay(0.1, 0), "decay_steps must be at least 1, got 0"),
    (lambda: tf1.cosine_decay(0.1, 0), "decay_steps must be at least 1, got 0"),
    (lambda: tf1.cosine_decay_restarts(0.1, 0), "first_decay_steps must be at least 1"),
])  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
