"""The range test against NumPy, and what must not move it: NaN, spikes, other seeds."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optix_tricks as ot
from optix_tricks.dynamics import (
    learning_rate_range_test,
    scan_learning_rates,
    suggest_learning_rates,
)

SEEDS, STEPS, BATCH = 3, 40, 8
rng = np.random.default_rng(0)
X = rng.standard_normal((SEEDS, STEPS, BATCH, 3))
Y = X @ np.array([1.0, -2.0, 0.5]) + 0.1 * rng.standard_normal((SEEDS, STEPS, BATCH))


def loss(w, batch):
    x, y = batch
    return jnp.mean((x @ w - y) ** 2) / 2


def batches(seed, step):
    """Works on traced and on plain integers."""
    x, y = jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)
    return x[seed, step], y[seed, step]


RANGE = {"min_rate": 1e-3, "max_rate": 30.0, "steps": STEPS, "seeds": SEEDS}


def run(make_optimizer=optax.sgd, w=None, **options):
    w = jnp.zeros(3) if w is None else w
    options = {"batch_fn": batches, **RANGE} | options
    return learning_rate_range_test(loss, w, make_optimizer=make_optimizer, **options)


@functools.cache
def plain():
    """With SGD, at once."""
    return run()


def by_hand(seed, rates, momentum=0.0, divergence=4.0, every=1):
    """One seed in float64: losses up to the divergence, NaN from there on."""
    w, trace, total = np.zeros(3), np.zeros(3), np.zeros(3)
    seen, best, in_a_row = [], np.inf, 0
    for t, rate in enumerate(rates):
        error = X[seed, t] @ w - Y[seed, t]
        seen.append(np.mean(error**2) / 2)
        in_a_row = in_a_row + 1 if seen[-1] > divergence * best else 0
        if in_a_row == 3:
            seen = seen[:-3]
            break
        if len(seen) >= 3:
            last = ([np.inf] * 5 + seen)[-5:]
            best = min(best, np.sort(last)[2])
        total = total + X[seed, t].T @ error / BATCH / every
        if (t + 1) % every == 0:
            trace = momentum * trace + total
            w, total = w - rate * trace, np.zeros(3)
    return np.array(seen + [np.nan] * (len(rates) - len(seen)))


def smooth_by_hand(log_rates, losses, width):
    stop = np.isfinite(losses).sum()
    medians = []
    for i in range(stop):
        centre = min(max(i, 2), stop - 3)
        medians.append(np.median(losses[centre - 2 : centre + 3]))
    smoothed = np.full(len(losses), np.nan)
    for i in range(stop):
        weights = np.exp(-(((log_rates[:stop] - log_rates[i]) / width) ** 2) / 2)
        smoothed[i] = np.sum(weights * medians) / np.sum(weights)
    return smoothed


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_losses_stop_and_curves_are_those_of_a_loop_in_numpy(momentum):
    test = plain() if not momentum else run(lambda rate: optax.sgd(rate, momentum))
    rates = np.geomspace(1e-3, 30, STEPS)
    np.testing.assert_allclose(test.rates, rates, rtol=1e-5)
    want = np.stack([by_hand(seed, rates, momentum) for seed in range(SEEDS)])
    np.testing.assert_array_equal(test.stop, np.isfinite(want).sum(axis=1))
    assert (test.stop < STEPS).all()
    np.testing.assert_allclose(test.losses, want, rtol=2e-3)  # float32, near divergence
    smooth = np.stack([smooth_by_hand(np.log10(rates), row, 0.2) for row in want])
    np.testing.assert_allclose(test.smoothed, smooth, rtol=2e-3)
    left = np.isfinite(smooth).sum(axis=0)
    many = 2 * left >= SEEDS
    np.testing.assert_array_equal(np.isfinite(test.mean), many)
    np.testing.assert_allclose(
        test.mean[many], np.nanmean(smooth[:, many], axis=0), rtol=2e-3
    )
    error = np.nanstd(smooth[:, left > 1], axis=0, ddof=1) / np.sqrt(left[left > 1])
    np.testing.assert_allclose(test.standard_error[left > 1], error, rtol=1e-2)


def test_a_quadratic_grows_from_two_over_its_curvature_on():
    """Each step multiplies the loss by (1 - 20 r)^2."""
    test = learning_rate_range_test(
        lambda w, batch: 10 * jnp.sum(w**2),
        jnp.ones(3),
        make_optimizer=optax.sgd,
        batch_fn=lambda seed, step: (),
        min_rate=1e-5,
        max_rate=1e2,
        steps=200,
        seeds=1,
    )
    counted = int(test.stop[0])
    grows = np.diff(np.log(test.losses[0, :counted])) > 0
    np.testing.assert_array_equal(grows, test.rates[: counted - 1] > 2 / 20)
    assert grows.any()
    assert test.rates[counted] < 1.5 * 2 / 20
    for suggestion in suggest_learning_rates(test):
        assert 1e-3 < suggestion.rate < 2 / 20


def test_seeds_at_once_are_seeds_one_by_one():
    alone = run(batch_fn=lambda _, step: batches(2, step), seeds=1)
    np.testing.assert_array_equal(alone.stop[0], plain().stop[2])
    np.testing.assert_allclose(alone.losses[0], plain().losses[2], rtol=1e-5)


def test_a_loop_is_the_scan_and_ends_a_diverged_seed():
    calls = []

    def counted(seed, step):
        calls.append((seed, step))
        return batches(seed, step)

    done = []
    looped = run(batch_fn=counted, mode="loop", on_step=lambda *at: done.append(at))
    for one, other in zip(looped, plain(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)
    assert len(done) == SEEDS * STEPS
    for seed, stop in enumerate(looped.stop):
        trained = sum(1 for s, _ in calls if s == seed)
        assert stop < trained <= stop + 3 < STEPS


def test_it_compiles_once_for_all_rates_and_under_jit():
    traces = []

    def counted_loss(w, batch):
        traces.append(0)
        return loss(w, batch)

    def under_jit(w):
        return learning_rate_range_test(
            counted_loss, w, make_optimizer=optax.sgd, batch_fn=batches, **RANGE
        )

    jitted = jax.jit(under_jit)(jnp.zeros(3))
    assert len(traces) <= 2
    for one, other in zip(jitted, plain(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize("mode", ["scan", "loop"])
def test_the_callers_parameters_stay(mode):
    w = jnp.array([0.1, 0.2, 0.3])
    run(ot.adam, w, mode=mode, steps=10)
    np.testing.assert_array_equal(w, np.float32([0.1, 0.2, 0.3]))


@pytest.mark.parametrize("mode", ["scan", "loop"])
def test_a_seed_that_becomes_nan_leaves_the_others_and_the_suggestion_alone(mode):
    def spoilt(seed, step):
        x, y = batches(seed, step)
        return jnp.where((seed == 1) & (step >= 12), jnp.nan, x), y

    clean = plain() if mode == "scan" else run(mode=mode)
    test = run(batch_fn=spoilt, mode=mode)
    assert test.stop[1] == 12
    for seed in (0, 2):
        np.testing.assert_array_equal(test.losses[seed], clean.losses[seed])
    for with_it, without in zip(
        suggest_learning_rates(test), suggest_learning_rates(clean), strict=True
    ):
        others = without.seeds[[0, 2]]
        assert others.min() * 0.999 <= with_it.rate <= others.max() * 1.001
    assert np.isfinite(test.mean[: int(clean.stop.min())]).all()


def planted(curve, more=lambda seed, step: jnp.zeros(()), **options):
    """A range test whose losses are a function of the rate's logarithm, and of `more`."""
    options = {"min_rate": 1e-5, "max_rate": 10.0, "steps": 121, "seeds": 1} | options
    return scan_learning_rates(
        lambda state, added, rate: (state, curve(jnp.log10(rate)) + added),
        lambda seed: jnp.zeros(()),
        batch_fn=more,
        **options,
    )


def falls_and_rises(x):
    """From 3 down to about 1 around -2.5, up again past -0.5, and far above past 0.5."""
    return 3 - 2 * jax.nn.sigmoid(4 * (x + 2.5)) + 8 * jax.nn.relu(x + 0.5) ** 2


def test_nan_from_a_rate_on_ends_every_seed_there():
    test = planted(lambda x: jnp.where(x > 0, jnp.nan, falls_and_rises(x)), seeds=2)
    assert (test.rates[test.stop] > 1).all()
    assert (test.rates[test.stop - 1] <= 1).all()
    assert np.isfinite(test.smoothed[:, : int(test.stop[0])]).all()
    assert np.isnan(test.mean[int(test.stop[0]) :]).all()


def test_a_spike_neither_stops_the_test_nor_moves_a_suggestion():
    places, lengths = jnp.array([0, 3, 60, 0, 3, 60]), jnp.array([1, 1, 1, 2, 2, 2])

    def spike(seed, step):
        since = step - places[seed]
        return jnp.where((since >= 0) & (since < lengths[seed]), 1e4, 0.0)

    clean, test = planted(falls_and_rises), planted(falls_and_rises, spike, seeds=6)
    assert (test.stop == clean.stop[0]).all()
    for one, other in zip(
        suggest_learning_rates(test), suggest_learning_rates(clean), strict=True
    ):
        # Two steps of twenty in a decade.
        assert np.abs(np.log10(one.seeds / other.rate)).max() < 0.11


def test_three_losses_in_a_row_are_a_divergence_from_the_first_of_them_on():
    def late(seed, step):
        return jnp.where(step >= 50, 1e4, 0.0)

    assert planted(falls_and_rises, late).stop[0] == 50
    never = planted(falls_and_rises, late, divergence=float("inf"))
    assert never.stop[0] == 121


def test_negative_losses_diverge_too():
    test = planted(lambda x: falls_and_rises(x) - 5)
    assert 0.5 < np.log10(test.rates[test.stop[0]]) < 1


@pytest.mark.parametrize(
    "make_optimizer",
    [
        ot.sgd,
        lambda rate: optax.inject_hyperparams(optax.sgd)(learning_rate=rate),
        lambda rate: optax.chain(optax.scale_by_schedule(rate), optax.scale(-1)),
        lambda rate: optax.MultiSteps(optax.sgd(rate), 1).gradient_transformation(),
    ],
    ids=["ours", "injected", "chain", "multi_steps"],
)
def test_any_chain_with_a_schedule_sees_the_rate(make_optimizer):
    test, want = run(make_optimizer), plain()
    np.testing.assert_array_equal(test.stop, want.stop)
    np.testing.assert_allclose(test.losses, want.losses, rtol=2e-3)


def test_under_accumulation_the_rate_goes_on_with_the_steps():
    test = run(lambda rate: optax.MultiSteps(optax.sgd(rate), 4), divergence=1e9)
    want = np.stack(
        [
            by_hand(seed, np.geomspace(1e-3, 30, STEPS), divergence=1e9, every=4)
            for seed in range(SEEDS)
        ]
    )
    np.testing.assert_allclose(test.losses, want, rtol=2e-3)


def test_bfloat16_parameters_give_a_float32_curve():
    test = run(ot.sgd, jnp.zeros(3, jnp.bfloat16))
    assert {x.dtype.name for x in test if x is not test.stop} == {"float32"}
    want = plain()
    assert np.abs(test.stop - want.stop).max() <= 2
    early = test.rates < 0.1
    np.testing.assert_allclose(test.losses[:, early], want.losses[:, early], rtol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_rate": 0.0}, "min_rate must be positive, got 0.0"),
        ({"max_rate": 1e-3}, "max_rate must be finite and above min_rate, 0.001, got 0"),
        ({"max_rate": float("inf")}, "max_rate must be finite"),
        ({"steps": 5}, "steps must be at least 10, got 5"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"smoothing": 0.0}, "smoothing must be positive, got 0.0"),
        ({"divergence": 0.5}, "divergence must be at least 1, got 0.5"),
        ({"divergence": float("nan")}, "divergence must be at least 1, got nan"),
        ({"mode": "jit"}, "mode must be 'scan' or 'loop', got 'jit'"),
        ({"w": jnp.zeros(3, int)}, "must be real floating-point arrays"),
    ],
)
def test_bad_input_raises(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_both_tests_take_the_same_options():
    names = [
        set(inspect.signature(inspect.unwrap(f)).parameters)
        for f in (learning_rate_range_test, scan_learning_rates)
    ]
    assert names[0] - names[1] == {"loss", "params", "make_optimizer"}


@pytest.mark.parametrize("mode", ["scan", "loop"])
def test_under_x64_it_runs_in_float64(mode):
    with jax.enable_x64(True):
        test = learning_rate_range_test(
            lambda w, batch: jnp.sum((w - batch) ** 2),
            jnp.ones(2),
            make_optimizer=optax.sgd,
            batch_fn=lambda seed, t: jnp.zeros(2),
            steps=20,
            mode=mode,
        )
        assert test.losses.dtype == jnp.float64
