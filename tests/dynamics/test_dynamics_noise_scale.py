"""The noise scale of a problem whose noise and gradient are known."""

import inspect

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import (
    NoiseScale,
    gradient_noise_scale,
    noise_scale_from_norms,
)
from optix_tricks.dynamics.batches._noise_scale import fieller

DIMS = 20
SCALES = np.linspace(0.3, 1.5, DIMS)  # of the noise, direction by direction
NOISE = float(np.sum(SCALES**2))


def quadratic(w, x):
    """The gradient of an example is w - x."""
    return jnp.mean(jnp.sum((w[None] - x) ** 2, axis=-1)) / 2


def at(gradient_norm):
    return jnp.full(DIMS, gradient_norm / DIMS**0.5, jnp.float32)


def draw(key, n):
    scales = jnp.asarray(SCALES, jnp.float32)
    return scales[None] * jax.random.normal(key, (n, DIMS))


def regression(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2) / 2


def regression_data(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    y = (x @ [1.0, -2.0, 0.5] + rng.normal(size=n)).astype(np.float32)
    params = {"w": np.array([0.3, -1.0, 0.7], np.float32), "b": np.float32(0.2)}
    return params, (x, y)


def gradients_by_hand(params, batch, micro):
    """[micro-batches, 4] in float64."""
    x, y = (np.asarray(a, np.float64) for a in batch)
    w, b = np.asarray(params["w"], np.float64), float(params["b"])
    residual = x @ w + b - y
    each = np.concatenate([residual[:, None], residual[:, None] * x], axis=1)
    return each.reshape(-1, micro, 4).mean(axis=1)


def pair_averages(g, micro):
    """Noise and signal as averages over all pairs of micro-batches."""
    pairs = [(a, b) for i, a in enumerate(g) for b in g[:i]]
    noise = np.mean([micro * np.sum((a - b) ** 2) / 2 for a, b in pairs])
    return noise, np.mean([a @ b for a, b in pairs])


@pytest.mark.parametrize(("micro", "chunk"), [(1, None), (1, 4), (3, None), (3, 2)])
def test_the_estimates_are_those_of_loops_in_float64(micro, chunk):
    params, batch = regression_data(12 * micro)
    result = gradient_noise_scale(
        regression, params, batch, micro_batch_size=micro, chunk_size=chunk
    )
    g = gradients_by_hand(params, batch, micro)
    n = len(g)
    noise, signal = pair_averages(g, micro)
    without = [pair_averages(np.delete(g, i, axis=0), micro) for i in range(n)]
    deviations = np.array(without) - [noise, signal]
    covariance = (n - 1) / n * deviations.T @ deviations  # the jackknife's
    np.testing.assert_allclose(result.noise, noise, rtol=1e-5)
    np.testing.assert_allclose(result.signal, signal, rtol=1e-5)
    np.testing.assert_allclose(result.noise_scale, noise / signal, rtol=1e-5)
    errors = result.noise_error, result.signal_error
    np.testing.assert_allclose(errors, np.sqrt(np.diag(covariance)), rtol=1e-4)
    ratio = noise / signal
    gradient = np.array([1, -ratio]) / signal
    error = np.sqrt(gradient @ covariance @ gradient)
    np.testing.assert_allclose(result.standard_error, error, rtol=1e-4)

    size = np.geomspace(1e-3, 1e5, 400_001)  # all noise scales that are not rejected
    variance = covariance[0, 0] - 2 * size * covariance[0, 1] + size**2 * covariance[1, 1]
    inside = size[(noise - size * signal) ** 2 <= 1.96**2 * variance]
    low = inside[0] if inside[0] > size[0] else 0
    high = inside[-1] if inside[-1] < size[-1] else np.inf
    np.testing.assert_allclose([result.low, result.high], [low, high], rtol=1e-3)
    assert bool(result.decided) == (high < np.inf)


def test_batches_in_float64_give_float64():
    with jax.enable_x64(True):
        params, batch = regression_data(30)
        params, batch = jax.tree.map(
            lambda x: jnp.asarray(x, jnp.float64), (params, batch)
        )
        measure = jax.jit(lambda p, b: gradient_noise_scale(regression, p, b))
        result = measure(params, batch)
        assert result.noise_scale.dtype == jnp.float64
        noise, signal = pair_averages(gradients_by_hand(params, batch, 1), 1)
        np.testing.assert_allclose(result.noise_scale, noise / signal, rtol=1e-12)


def per_example(key):
    return gradient_noise_scale(quadratic, at(0.8), draw(key, 120))


def per_micro_batch(key):
    return gradient_noise_scale(quadratic, at(0.8), draw(key, 180), micro_batch_size=3)


def two_batches(key):
    g = at(0.8)[None, None] - draw(key, 160).reshape(40, 4, DIMS) / 4  # 4 times 16
    small_sq = jnp.mean(jnp.sum(g**2, axis=2), axis=1)
    big_sq = jnp.sum(jnp.mean(g, axis=1) ** 2, axis=1)
    return noise_scale_from_norms(small_sq, big_sq, b_small=16, b_big=64)


@pytest.mark.parametrize("estimate", [per_example, per_micro_batch, two_batches])
def test_intervals_hold_the_truth_at_the_nominal_rate_without_bias(estimate):
    truth = NOISE / 0.64
    result = jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(1), 600))
    held = np.mean((result.low <= truth) & (truth <= result.high))
    assert 0.92 <= held <= 0.98  # 3.4 standard errors of 600 draws
    for values, error, expected in (
        (result.noise, result.noise_error, NOISE),
        (result.signal, result.signal_error, 0.64),
    ):
        values = np.asarray(values, np.float64)
        assert abs(np.mean(values) - expected) < 4 * np.std(values) / np.sqrt(600)
        assert 0.9 < np.mean(error) / np.std(values) < 1.2


def test_a_gradient_below_its_noise_is_undecided():
    def none(key):
        return gradient_noise_scale(quadratic, at(0.0), draw(key, 50))

    result = jax.jit(jax.vmap(none))(jax.random.split(jax.random.key(2), 400))
    assert np.mean(result.decided) < 0.05
    assert np.mean(result.high == np.inf) > 0.95
    signals = np.asarray(result.signal)
    assert abs(signals.mean()) < 4 * signals.std() / 20
    assert np.any(signals < 0)
    negative = signals <= 0
    assert np.all(result.noise_scale[negative] == np.inf)
    assert np.all(result.standard_error[negative] == np.inf)
    assert np.all((result.low > 0) & (result.low < np.inf))  # far from zero it is


def test_equal_gradients_have_no_noise():
    result = gradient_noise_scale(quadratic, at(0.5), jnp.zeros((8, DIMS)))
    assert result.low <= result.noise_scale <= result.high < 1e-10
    assert result.decided
    np.testing.assert_allclose(result.signal, 0.25, rtol=1e-6)
    nothing = gradient_noise_scale(quadratic, at(0.0), jnp.zeros((8, DIMS)))
    assert (nothing.low, nothing.noise_scale, nothing.high) == (0, np.inf, np.inf)
    assert not nothing.decided


@pytest.mark.parametrize("factor", [1e-7, 1e7])
def test_the_scale_of_the_loss_does_not_matter(factor):
    x = draw(jax.random.key(3), 60)

    @jax.jit
    def measure(factor):
        return gradient_noise_scale(lambda w, x: factor * quadratic(w, x), at(2.0), x)

    result, scaled = measure(1.0), measure(factor)
    for name in ("noise_scale", "standard_error", "low", "high"):
        np.testing.assert_allclose(
            getattr(scaled, name), getattr(result, name), rtol=1e-4
        )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_parameters_of_16_bits_are_derived_in_float32(dtype):
    x = draw(jax.random.key(4), 60)
    result = gradient_noise_scale(quadratic, at(2.0).astype(dtype), x)
    wide = gradient_noise_scale(quadratic, at(2.0).astype(dtype).astype(jnp.float32), x)
    assert result.noise_scale.dtype == jnp.float32
    np.testing.assert_array_equal(result.noise_scale, wide.noise_scale)


@pytest.mark.parametrize("micro", [1, 5])
def test_two_norms_of_one_batch_are_the_same_estimate(micro):
    params, batch = regression_data(30)
    result = gradient_noise_scale(regression, params, batch, micro_batch_size=micro)
    g = gradients_by_hand(params, batch, micro)
    small_sq, big_sq = np.mean(np.sum(g**2, axis=1)), np.sum(np.mean(g, axis=0) ** 2)
    norms = noise_scale_from_norms(
        jnp.float32(small_sq), jnp.float32(big_sq), b_small=micro, b_big=30
    )
    np.testing.assert_allclose(norms.noise, result.noise, rtol=1e-5)
    np.testing.assert_allclose(norms.signal, result.signal, rtol=1e-4)
    assert norms.standard_error == np.inf  # of one step alone
    assert (norms.low, norms.high) == (0, np.inf)
    assert not norms.decided


def test_averages_are_divided_and_layers_are_kept_apart():
    signal = np.array([[0.01, 2.0], [4.0, 2.0], [2.0, 2.0]])
    noise = np.array([[40.0, 8.0], [44.0, 8.0], [36.0, 8.0]])
    small_sq, big_sq = (jnp.asarray(signal + noise / b, jnp.float32) for b in (4, 16))
    result = noise_scale_from_norms(small_sq, big_sq, b_small=4, b_big=16)
    np.testing.assert_allclose(
        result.noise_scale, noise.mean(0) / signal.mean(0), rtol=1e-4
    )
    assert np.mean(noise[:, 0] / signal[:, 0]) > 1000  # what an average of ratios says
    assert result.low[0] < result.noise_scale[0] < result.high[0]
    np.testing.assert_allclose([result.low[1], result.high[1]], 4, rtol=1e-3)


@hypothesis.given(
    st.floats(0, 1e3), st.floats(-1e3, 1e3), st.floats(0, 1e4), st.floats(0, 1e4),
    st.floats(-1, 1),
)  # fmt: skip
def test_the_interval_holds_the_estimate(noise, signal, noise_var, signal_var, rho):
    covariance = rho * np.sqrt(noise_var * signal_var)
    given = (noise, signal, noise_var, signal_var, covariance)
    result = fieller(*(jnp.float32(x) for x in given))
    assert not any(np.isnan(x) for x in result)
    assert 0 <= result.low <= result.noise_scale * (1 + 1e-3) + 1e-30
    assert result.noise_scale <= result.high * (1 + 1e-3) + 1e-30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"micro_batch_size": 4}, "into at least 3 equal parts, got 4 for 10 examples"),
        ({"micro_batch_size": 5}, "into at least 3 equal parts, got 5 for 10 examples"),
        ({"micro_batch_size": 0}, "micro_batch_size must be at least 1, got 0"),
        ({"chunk_size": 3}, "must divide the number of micro-batches, 10, got 3"),
        ({"chunk_size": 0}, "chunk_size must be at least 1, got 0"),
    ],
)
def test_bad_sizes_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        gradient_noise_scale(quadratic, at(0.5), jnp.ones((10, DIMS)), **arguments)


def test_a_batch_of_one_and_ragged_batches_raise():
    with pytest.raises(ValueError, match="at least 3 equal parts, got 1 for 1 examples"):
        gradient_noise_scale(quadratic, at(0.5), jnp.ones((1, DIMS)))
    params, (x, y) = regression_data(9)
    with pytest.raises(ValueError, match="one number of examples along their first axis"):
        gradient_noise_scale(regression, params, (x, y[:6]))
    with pytest.raises(
        ValueError, match=r"must be real floating-point arrays .*, got int"
    ):
        gradient_noise_scale(regression, params | {"b": 1}, (x, y))


def test_bad_norms_raise():
    plain = inspect.unwrap(noise_scale_from_norms)
    with pytest.raises(ValueError, match="b_big must be larger than b_small, got 8 and"):
        plain(jnp.ones(3), jnp.ones(3), b_small=16, b_big=8)
    with pytest.raises(ValueError, match="b_small must be positive, got 0"):
        plain(jnp.ones(3), jnp.ones(3), b_small=0, b_big=8)
    with pytest.raises(ValueError, match=r"one shape, got \[3\] and \[2\]"):
        plain(jnp.ones(3), jnp.ones(2), b_small=4, b_big=8)


def test_it_runs_compiled_and_returns_arrays():
    params, batch = regression_data(12)
    compiled = jax.jit(lambda p, b: gradient_noise_scale(regression, p, b))
    result = compiled(params, batch)
    assert isinstance(result, NoiseScale)
    assert all(x.shape == () for x in result)


def test_negative_noise_is_none_and_not_decided():
    """Small and big batch taken for each other: |g|² cannot grow with the batch."""
    small, big = jnp.array([1.0, 1.1, 0.9]), jnp.array([5.0, 5.1, 4.9])
    found = noise_scale_from_norms(small, big, b_small=8, b_big=32)
    assert found.low == 0
    assert found.high >= 0
    assert not found.decided
