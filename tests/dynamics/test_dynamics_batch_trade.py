"""The trade of batch size: the hyperbola, its ends, and a step that obeys it."""

import inspect

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import NoiseScale, batch_trade

SIZES = np.array([8, 64, 100, 1024])


def measured(noise_scale, low, high):
    values = dict.fromkeys(NoiseScale._fields, jnp.zeros(()))
    ends = {"noise_scale": noise_scale, "low": low, "high": high}
    return NoiseScale(**values | {k: jnp.float32(x) for k, x in ends.items()})


def test_predictions_are_the_formulas_for_the_estimate_and_both_ends():
    trade = batch_trade(
        measured(100, 50, 400),
        SIZES,
        current_batch_size=64,
        current_steps=3000,
        step_seconds=0.01 + 1e-4 * SIZES,
    )
    for i, noise in enumerate((100, 50, 400)):
        min_steps = 3000 / (1 + noise / 64)
        steps = min_steps * (1 + noise / SIZES)
        min_examples = 3000 * 64 / (1 + 64 / noise)
        np.testing.assert_allclose(trade.min_steps[i], min_steps, rtol=1e-5)
        np.testing.assert_allclose(trade.min_examples[i], min_examples, rtol=1e-5)
        np.testing.assert_allclose(trade.steps[i], steps, rtol=1e-5)
        examples = min_examples * (1 + SIZES / noise)
        np.testing.assert_allclose(trade.examples[i], examples, rtol=1e-5)
        seconds = steps * (0.01 + 1e-4 * SIZES)
        np.testing.assert_allclose(trade.seconds[i], seconds, rtol=1e-5)
    np.testing.assert_allclose(trade.steps[:, 1], 3000, rtol=1e-6)  # where it is known
    np.testing.assert_allclose(trade.steps[0, 2], 2 * trade.min_steps[0], rtol=1e-5)
    np.testing.assert_allclose(trade.examples[0, 2], 2 * trade.min_examples[0], rtol=1e-5)


@hypothesis.given(st.floats(1e-2, 1e6), st.integers(1, 10_000), st.integers(1, 10_000))
def test_steps_and_examples_lie_on_the_hyperbola(noise, current, size):
    with jax.enable_x64(True):
        sizes = np.array([float(size)])
        trade = batch_trade(noise, sizes, current_batch_size=current)
        over_steps = trade.steps[0, 0] / trade.min_steps[0] - 1
        over_examples = trade.examples[0, 0] / trade.min_examples[0] - 1
        np.testing.assert_allclose(over_steps * over_examples, 1, rtol=1e-6)


def test_the_ends_of_pure_noise_and_none():
    trade = batch_trade(measured(100, 0, np.inf), SIZES, current_batch_size=64)
    np.testing.assert_allclose(trade.steps[1], 1)  # no noise: batches save no step
    np.testing.assert_allclose(trade.examples[1], SIZES, rtol=1e-6)
    np.testing.assert_allclose(trade.steps[2], 64 / SIZES, rtol=1e-6)  # all noise
    np.testing.assert_allclose(trade.examples[2], 64, rtol=1e-6)
    np.testing.assert_array_equal(trade.min_steps[1:], [1, 0])
    assert trade.seconds is None


def test_the_best_step_on_a_quadratic_obeys_it():
    """Over all rates the loss's fall per step is in the ratio of the predicted steps."""
    rng = np.random.default_rng(0)
    gradient, sizes = np.array([0.6, 0.8, 0.0, 0.0]), np.array([2, 8, 32])
    falls = []
    for size in sizes:
        mean = rng.normal(scale=3 / np.sqrt(size), size=(20_000, 4)) + gradient
        losses = [
            np.mean(np.sum((gradient - rate * mean) ** 2, axis=1)) / 2
            for rate in np.linspace(0, 1, 101)
        ]
        falls.append(0.5 - min(losses))
    trade = batch_trade(36.0, sizes, current_batch_size=8)  # tr Σ = 4 * 9, |G|² = 1
    np.testing.assert_allclose(falls[1] / np.array(falls), trade.steps[0], rtol=0.05)


def test_it_runs_compiled():
    trade = jax.jit(lambda b: batch_trade(b, SIZES, current_batch_size=64))(100.0)
    plain = batch_trade(100.0, SIZES, current_batch_size=64)
    np.testing.assert_allclose(trade.steps, plain.steps, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_scale": -1.0}, "noise_scale must be zero or positive, got -1.0"),
        ({"noise_scale": jnp.ones(2)}, r"of all parameters together, got shape \[2\]"),
        ({"batch_size": 64}, r"batch_size must have one axis, got shape \[\]"),
        ({"current_batch_size": 0}, "current_batch_size must be at least 1, got 0"),
        ({"current_steps": 0.0}, "current_steps must be positive, got 0.0"),
        ({"step_seconds": np.ones(3)}, r"shape of batch_size, \[4\], got \[3\]"),
    ],
)
def test_bad_arguments_raise(change, message):
    given = {"noise_scale": 1.0, "batch_size": SIZES, "current_batch_size": 64} | change
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(batch_trade)(**given)
