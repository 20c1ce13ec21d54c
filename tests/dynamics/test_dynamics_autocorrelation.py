"""How gradients agree with those before, and the errors of correlated means."""

import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import gradient_autocorrelation
from optix_tricks.dynamics.norms._autocorrelation import standard_error_of_mean


def by_blocks(x):
    """Of the last 40 rows in ten blocks of four."""
    means = [np.mean(x[len(x) - 40 + 4 * i :][:4], axis=0) for i in range(10)]
    return np.sqrt(np.var(means, axis=0) * 10 / 9 / 10)


def test_the_error_of_a_mean_is_from_the_spread_of_ten_blocks():
    x = np.random.default_rng(0).standard_normal((47, 3)).astype(np.float32)
    found = standard_error_of_mean(jnp.asarray(x))
    np.testing.assert_allclose(found, by_blocks(x), rtol=1e-5)
    assert np.isfinite(standard_error_of_mean(jnp.asarray(x[:20]))).all()
    assert np.isnan(standard_error_of_mean(jnp.asarray(x[:19]))).all()


def test_every_lag_and_its_error_by_loops():
    g = np.random.default_rng(1).standard_normal((45, 3)).astype(np.float32)
    found = gradient_autocorrelation(jnp.asarray(g), max_lag=2)
    square = [float(x @ x) for x in g.astype(float)]
    for k in range(3):
        pairs = [(t, t - k) for t in range(k, 45)]
        products = np.array([float(g[t] @ g[s]) for t, s in pairs])
        both = np.array([(square[t] + square[s]) / 2 for t, s in pairs])
        r = products.sum() / both.sum()
        assert float(found.value[k]) == pytest.approx(r, rel=1e-5)
        error = by_blocks(products - r * both) / np.mean(square)
        assert float(found.standard_error[k]) == pytest.approx(error, rel=1e-3, abs=1e-7)
    np.testing.assert_array_equal(found.lag, [0, 1, 2])


def test_lags_of_a_moving_average_are_found_within_their_errors():
    new = np.random.default_rng(1).standard_normal((2001, 50)).astype(np.float32)
    g = new[1:] + 0.5 * new[:-1]
    found = gradient_autocorrelation(jnp.asarray(g), max_lag=3)
    expected = np.array([1, 0.4, 0, 0])
    error = np.asarray(found.standard_error)
    assert np.all(np.abs(found.value - expected) <= 4 * error + 1e-6)
    # Bartlett's formula, for a moving average of 2,000 x 50 numbers; from ten blocks an
    # error is known to a quarter.
    bartlett = np.sqrt([1 - 3 * 0.4**2 + 4 * 0.4**4, 1.32, 1.32]) / np.sqrt(2000 * 50)
    assert np.all((error[1:] > 0.5 * bartlett) & (error[1:] < 2 * bartlett))
    by_loops = np.mean([g[t] @ g[t - 2] for t in range(2, 2000)])
    ends = np.sum(g * g, 1)
    both = (np.mean(ends[2:]) + np.mean(ends[:-2])) / 2
    assert float(found.value[2]) == pytest.approx(by_loops / both, rel=1e-3, abs=1e-6)


def test_sequences_that_are_too_short_raise():
    with pytest.raises(ValueError, match=r"more than max_lag=5 steps, got \[5, 2\]"):
        gradient_autocorrelation(jnp.ones((5, 2)), max_lag=5)
    assert np.isnan(
        gradient_autocorrelation(jnp.ones((9, 2)), max_lag=0).standard_error[0]
    )
