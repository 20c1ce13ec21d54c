"""Suggestions on curves whose answers are known, and what leaves them undecided."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from optix_tricks.dynamics import (
    RangeTest,
    learning_rate_range_test,
    suggest_learning_rates,
)
from optix_tricks.dynamics.rates._suggestions import (
    SIGNIFICANT,
    _steepest,
    _undecided,
    _valley,
)

RATES = np.geomspace(1e-6, 10, 141)
LOG = np.log10(RATES)


def of(*curves, raw=None, smoothing=0.1):
    """The suggestions for one smoothed curve a seed."""
    curves = np.stack(curves)
    losses = curves if raw is None else raw
    nothing = np.full(len(RATES), np.nan)
    stop = np.isfinite(curves).sum(axis=1)
    test = RangeTest(RATES, losses, curves, nothing, nothing, stop, smoothing)
    return suggest_learning_rates(test)


def planted(centre, minimum):
    """A logistic fall, steepest at `centre`, and from the minimum on a rise."""
    fall = 2 / (1 + np.exp(6 * (LOG - centre)))
    return fall + 1 + np.where(minimum < LOG, 3 * (LOG - minimum), 0)


def test_planted_rates_are_found():
    suggested = of(planted(-3.0, -1.0))
    assert suggested.steepest.rate == pytest.approx(1e-3, rel=1e-6)
    assert suggested.minimum_tenth.rate == pytest.approx(1e-2, rel=1e-6)
    # The fall is the first 101 losses: a third and a sixth of it, counted from before.
    assert suggested.valley.rate == pytest.approx(RATES[-1 + 33 + 16], rel=1e-6)


def test_the_valley_is_the_middle_of_the_falling_part():
    curve = np.interp(LOG, [-6, -4, -2, -1, 1], [1.9, 2.0, 0.5, 0.5, 3.0])
    assert np.log10(of(curve).valley.rate) == pytest.approx(-3.1, abs=1e-6)


def test_a_second_and_steeper_fall_behind_the_minimum_does_not_count():
    # As of a network with norms, which recovers from rates that are too large.
    curve = np.interp(
        LOG, [-6, -4, -3, -2, -1, 0, 0.2, 1], [2.0, 2.0, 1.8, 1.0, 0.8, 2.0, 1.2, 1.2]
    )
    suggested = of(curve)
    assert -3 <= np.log10(suggested.steepest.rate) <= -2
    assert suggested.minimum_tenth.rate == pytest.approx(1e-2, rel=1e-6)


def valley_by_loops(rates, losses):
    """fastai's rule up to the minimum, with its two loops."""
    losses = losses[: np.argmin(losses) + 1]
    lengths = [1] * len(losses)
    for i in range(1, len(losses)):
        for j in range(i):
            if losses[i] < losses[j] and lengths[i] < lengths[j] + 1:
                lengths[i] = lengths[j] + 1
    end = max(range(len(losses)), key=lambda i: lengths[i])
    sections = lengths[end] / 3
    return rates[end - lengths[end] + int(sections) + int(sections / 2)]


@pytest.mark.parametrize("seed", range(5))
def test_the_valley_is_that_of_loops(seed):
    rng = np.random.default_rng(seed)
    curve = planted(-3.0, -1.0) + 0.05 * rng.standard_normal(len(RATES))
    want = valley_by_loops(RATES, curve)
    assert of(curve).valley.rate == pytest.approx(want, rel=1e-6)


def test_the_median_over_seeds_and_its_error():
    centres = np.array([-3.5, -3.0, -2.8])
    steepest = of(*(planted(c, -1.0) for c in centres)).steepest
    np.testing.assert_allclose(np.log10(steepest.seeds), centres, atol=1e-6)
    assert steepest.rate == pytest.approx(1e-3, rel=1e-6)
    want = np.sqrt(np.pi / 2) * np.std(centres, ddof=1) / np.sqrt(3)
    assert steepest.standard_error == pytest.approx(want, rel=1e-5)
    assert np.isnan(of(planted(-3.0, -1.0)).steepest.standard_error)


def test_the_error_is_that_of_repetitions():
    """The rates of sets of four seeds, against the errors that they state."""
    rng = np.random.default_rng(0)
    found = [
        of(*(planted(c, -1.0) for c in -3 + 0.3 * rng.standard_normal(4))).steepest
        for _ in range(200)
    ]
    spread = np.std([np.log10(s.rate) for s in found])
    stated = np.mean([s.standard_error for s in found])
    assert 0.8 < stated / spread < 1.25


NOISE = 0.1 * np.random.default_rng(1).standard_normal((2, len(RATES)))
FLAT = 2 + np.zeros(len(RATES))


@pytest.mark.parametrize(
    ("curve", "raw", "reason"),
    [
        (FLAT, FLAT, "the loss never fell: raise max_rate"),
        (FLAT + NOISE[0] / 5, FLAT + NOISE[1], "the loss never fell: raise max_rate"),
        (np.where(LOG < -1, FLAT + LOG, np.nan), None, "never fell: lower min_rate"),
        (planted(-2.0, 3.0), None, "the loss never rose again: raise max_rate"),
        (np.where(LOG < -5.9, FLAT, np.nan), None, "within the first steps: lower min"),
        (np.full(len(RATES), np.nan), None, "within the first steps: lower min_rate"),
    ],
    ids=["flat", "noise", "rises", "falls", "early", "nothing"],
)
def test_undecided_says_which_end_to_move(curve, raw, reason):
    raw = None if raw is None else raw[None]
    for suggestion in of(curve, raw=raw):
        assert reason in suggestion.reason
        assert np.isnan([suggestion.rate, suggestion.standard_error]).all()


def test_undecided_seeds_leave_the_answer_to_the_majority():
    good, bad = planted(-3.0, -1.0), np.full(len(RATES), np.nan)
    assert of(good, good, bad).steepest.rate == pytest.approx(1e-3, rel=1e-6)
    undecided = of(good, bad).steepest
    assert "lower min_rate" in undecided.reason
    assert np.isnan(undecided.rate)
    np.testing.assert_allclose(undecided.seeds, [1e-3, np.nan], rtol=1e-6)


def test_it_does_not_run_under_jit():
    def traced(rates):
        curve = jnp.ones((1, 20))
        return suggest_learning_rates(
            RangeTest(rates, curve, curve, rates, rates, jnp.array([20]), 0.1)
        ).valley.rate

    with pytest.raises(ValueError, match=r"outside jax\.jit"):
        jax.jit(traced)(jnp.geomspace(1e-3, 1, 20))


def test_a_network_on_digits_trains_nearly_best_at_the_steepest_rate():
    """Against a grid of constant rates, by the mean loss of the last 50 of 300 steps."""
    images, labels = load_digits(return_X_y=True)
    images, labels = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)
    key = jax.random.key(0)
    w1, w2 = jax.random.split(key)
    params = {
        "hidden": jax.random.normal(w1, (64, 32)) / 8,
        "head": jax.random.normal(w2, (32, 10)) / 6,
    }

    def loss(params, index):
        logits = jax.nn.relu(images[index] @ params["hidden"]) @ params["head"]
        target = labels[index]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, target))

    def batch(seed, step):
        chosen = jax.random.fold_in(jax.random.fold_in(key, seed), step)
        return jax.random.randint(chosen, (64,), 0, len(labels))

    def sgd(rate):
        return optax.sgd(rate, momentum=0.9)

    test = learning_rate_range_test(
        loss,
        params,
        make_optimizer=sgd,
        batch_fn=batch,
        min_rate=1e-4,
        max_rate=30.0,
        steps=80,
    )
    suggested = suggest_learning_rates(test)

    def trained(rate):
        tx = sgd(lambda count: rate)

        def body(carry, step):
            value, grad = jax.value_and_grad(loss)(carry[0], batch(9, step))
            updates, state = tx.update(grad, carry[1])
            return (optax.apply_updates(carry[0], updates), state), value

        _, losses = jax.lax.scan(body, (params, tx.init(params)), jnp.arange(300))
        return jnp.mean(losses[-50:])

    grid = jnp.geomspace(1e-4, 10, 11)
    rates = jnp.array([s.rate for s in suggested], jnp.float32)
    results = np.array(jax.vmap(trained)(jnp.concatenate([grid, rates])))
    best = np.nanmin(results[:11])
    print(np.round(rates, 4), results)
    steepest, tenth, valley = results[11:]
    assert steepest < best + 0.05
    assert max(tenth, valley) < 0.5 < results[0]


def test_two_seeds_have_an_error_and_the_commonest_reason_is_told():
    two = of(planted(-3.0, -1.0), planted(-2.5, -1.0)).steepest
    assert two.standard_error == pytest.approx(np.sqrt(np.pi / 2) * 0.25, rel=1e-5)
    falls, early = planted(-2.0, 3.0), np.full(len(RATES), np.nan)
    for curves, reason in (
        ((falls, early, early), "within the first steps"),
        ((early, falls, falls), "never rose again"),
    ):
        assert reason in of(*curves).valley.reason


@pytest.mark.parametrize(
    ("curve", "place"),
    [
        ([3, 2, 9, 9], 0),  # two losses: before the first
        ([9, 8, 7, 6, 5, 4, 9], 2),  # six: the second and one more, counted from 0
        ([5, 6, 4, 3, 2, 1, 9], 1),  # five, of which the first may be left out
    ],
)
def test_the_valley_of_a_few_losses(curve, place):
    rates = np.arange(len(curve)) / 10
    assert _valley(rates, np.array(curve, float)) == rates[place]


def test_the_steepest_rate_may_be_next_to_the_minimum():
    curve = np.array([2, 2, 2, 2, 0, 0.1, 5.0])
    assert _steepest(np.arange(7.0), curve) == 3


@pytest.mark.parametrize("smoothing", [0.1, 1e-9])
@pytest.mark.parametrize(("share", "decided"), [(0.98, False), (1.02, True)])
def test_a_fall_and_a_rise_count_above_the_noise_of_a_smoothed_loss(
    smoothing, share, decided
):
    """Raw losses lie 0.2 off, a deviation of 0.2 x 1.4826 where they are normal.

    A Gaussian of 0.1 decades over rates 0.05 apart averages 2 √π 0.1 / 0.05 = 7.09.
    """
    log_rates = 0.05 * np.arange(20)
    off = 0.2 * (-1.0) ** np.arange(20)
    averaged = 7.0898 if smoothing == 0.1 else 1
    least = SIGNIFICANT * 0.2 * 1.4826 / np.sqrt(averaged)
    deep = np.full(20, 9.0)
    deep[10] = 9 - share * least  # falls by as much
    deep[11:] = 99.0
    low = np.full(20, 9.0)
    low[10:] = 0.0
    low[12] = share * least  # rises by as much
    for curve, reason in ((deep, "never fell: raise max_rate"), (low, "never rose")):
        found = _undecided(log_rates, curve + off, curve, smoothing)
        assert (found == "") == decided
        assert decided or reason in found
    # A run that diverged need not have risen, and fell where it did in its last steps.
    ended = np.r_[low[:11], np.full(9, np.nan)]
    assert _undecided(log_rates, ended + off, ended, smoothing) == ""
    shallow = np.where(np.isnan(ended), ended, deep - 1e-9)
    found = _undecided(log_rates, shallow + off, shallow, smoothing)
    assert (found == "") == decided
    assert decided or "lower min_rate" in found


def test_six_finite_losses_are_enough_and_five_are_not():
    curve = np.r_[9.0, 8, 7, 6, 5, 4, np.full(4, np.nan)]
    rates = 0.05 * np.arange(10)
    assert _undecided(rates, curve, curve, 0.1) == ""
    curve[5] = np.nan
    assert "within the first steps" in _undecided(rates, curve, curve, 0.1)
