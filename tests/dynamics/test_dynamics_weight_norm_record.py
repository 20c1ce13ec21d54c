"""From a run's samples to measured against predicted, and the correlation by lags."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optix_tricks as ot
from optix_tricks.dynamics import (
    WeightNormRecord,
    WeightNorms,
    compare_equilibrium,
    observe_weight_norms,
    weight_norm_record,
)

STEPS, EVERY = 3000, 2
OPTIONS = {"learning_rate": 0.2, "weight_decay": 2e-3, "momentum": 0.8}


@pytest.fixture(scope="module")
def record():
    """Two invariant layers, of white and of opposing noise, and one that is pulled."""
    noise = jnp.asarray(
        np.random.default_rng(0).standard_normal((STEPS + 1, 3, 400)), jnp.float32
    )
    tx = optax.chain(
        ot.add_decayed_weights(OPTIONS["weight_decay"]),
        ot.sgd(OPTIONS["learning_rate"], momentum=OPTIONS["momentum"]),
    )
    tx = observe_weight_norms(tx, decay=0.8, every=EVERY, mask=None, **OPTIONS)

    def orthogonal(raw, w):
        square = jnp.sum(w * w)
        return (raw - jnp.sum(raw * w) / square * w) / jnp.sqrt(square)

    def step(carry, pair):
        w, state = carry
        before, new = pair
        g = {
            "opposing": orthogonal(new[0] - 0.5 * before[0], w["opposing"]),
            "pulled": 0.1 * w["pulled"] + new[2],
            "white": orthogonal(new[1], w["white"]),
        }
        updates, state = tx.update(g, state, w)
        return (optax.apply_updates(w, updates), state), state.norms

    @jax.jit
    def run(noise):
        w = dict(zip(("opposing", "pulled", "white"), 0.5 * noise[0], strict=True))
        return jax.lax.scan(step, (w, tx.init(w)), (noise[:-1], noise[1:]))[1]

    samples = jax.tree.map(lambda x: x[::EVERY], run(noise))
    return weight_norm_record(
        samples, steps=np.arange(0, STEPS, EVERY), decay=0.8, **OPTIONS
    )


def test_the_corrected_prediction_explains_what_the_plain_one_does_not(record):
    found = compare_equilibrium("heavy_ball", record, start=800)
    assert list(found.layers) == ["opposing", "pulled", "white"]
    assert found.measured[0] / found.predicted[0] > 1.2
    ratio = found.measured / found.corrected
    np.testing.assert_allclose(ratio[jnp.array([0, 2])], 1, atol=0.01)
    off = np.abs(ratio - 1) / found.standard_error
    assert np.all(off[jnp.array([0, 2])] < 4)
    assert off[1] > 10  # not scale-invariant, and said to be off
    assert found.invariant.tolist() == [True, False, True]
    assert found.pull[1] == pytest.approx(0.1 / 2e-3, rel=0.1)  # of 0.1 w, beside λ w
    assert np.all(np.abs(found.pull[jnp.array([0, 2])]) < 1e-2)
    # R_1 = θ/(1+θ²), and S = ρ R_1.
    assert found.autocorrelation[0] == pytest.approx(0.8 * -0.4, abs=0.01)
    plain = np.sqrt(2 * 0.2 * 2e-3 * 0.2)
    np.testing.assert_allclose(found.predicted, plain, rtol=1e-3)


def test_a_record_survives_a_file(record):
    file = io.BytesIO()
    np.savez(file, **record._asdict())
    file.seek(0)
    back = WeightNormRecord(**np.load(file))
    for x, y in zip(record, back, strict=True):
        np.testing.assert_array_equal(x, y)
    again = compare_equilibrium("heavy_ball", back, stop=1000)
    assert np.all(np.isfinite(again.measured))


def test_a_schedule_weighs_the_rate_by_the_norms(record):
    rates = np.linspace(0.3, 0.1, len(record.step))
    changed = record._replace(learning_rate=rates)
    found = compare_equilibrium("nesterov", changed)
    w2, g2 = record.square_norm.astype(float), record.gradient_square.astype(float)
    gv = record.trace_product.astype(float)
    squares = rates[:, None] ** 2
    np.testing.assert_allclose(
        found.measured, np.sqrt((squares * g2).sum(0) / w2.sum(0)), rtol=1e-5
    )
    rate = (rates[:, None] * w2).sum(0) / w2.sum(0) * 2e-3
    np.testing.assert_allclose(found.predicted, np.sqrt(2 * rate * 0.2), rtol=1e-5)
    s = 0.8 * (squares * gv).sum(0) / (squares * g2).sum(0)
    drift = (w2[-1] - w2[0]) / (record.step[-1] * w2.mean(0))
    expected = np.sqrt(0.2 * (2 * rate + 0.2 * drift) / (1 + 1.6 * s))
    np.testing.assert_allclose(found.corrected, expected, rtol=1e-4)


@pytest.mark.parametrize(("kind", "factor"), [("heavy_ball", 1.6), ("nesterov", 1.28)])
def test_what_balances_the_decay_has_the_error(record, kind, factor):
    """|g|² + 2ρ g·v of heavy ball, |g|² + 2ρ² g·v of Nesterov; constant, it has none."""
    g2 = record.gradient_square.astype(float)
    balanced = record._replace(trace_product=(g2.mean(0) - g2) / factor)
    found = compare_equilibrium(kind, balanced)
    other = {"heavy_ball": "nesterov", "nesterov": "heavy_ball"}[kind]
    assert np.all(found.standard_error < 1e-5)
    assert np.all(compare_equilibrium(other, balanced).standard_error > 1e-4)


def test_what_cannot_be_compared_raises(record):
    with pytest.raises(ValueError, match="at least two samples, got 0 from 10000"):
        compare_equilibrium("heavy_ball", record, start=10_000)
    with pytest.raises(ValueError, match=r"decay equal to momentum, 0.8, got 0.9"):
        compare_equilibrium("heavy_ball", record._replace(decay=0.9))
    sample = WeightNorms(*({"a": np.ones(())} for _ in WeightNorms._fields))
    with pytest.raises(ValueError, match="steps must be 2 numbers, one a sample"):
        weight_norm_record([sample] * 2, steps=[1], learning_rate=1.0, weight_decay=0.1)
