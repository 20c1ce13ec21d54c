"""Paired effects: against SciPy's test, the formula again, and simulated ledgers."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from optix_tricks.ledger import holm, looks, paired_effect


def test_one_look_is_the_paired_t_test(rng):
    one, other = rng.normal(size=(2, 9))
    found = paired_effect(one - other, looks=(9,))
    test = stats.ttest_rel(one, other)
    assert found.interval == pytest.approx(test.confidence_interval(0.95), rel=1e-12)
    assert found.p == pytest.approx(test.pvalue, rel=1e-12)
    assert found.mean == found.mean_at_look == pytest.approx(np.mean(one - other))


def test_the_last_look_that_is_reached_has_its_share_of_the_error(rng):
    d = rng.normal(0.3, 1.0, size=12)
    found = paired_effect(d, looks=(5, 10, 20), error=0.1)
    first, second = (stats.ttest_1samp(d[:n], 0.0) for n in (5, 10))
    assert found.interval == pytest.approx(second.confidence_interval(1 - 0.1 / 4))
    assert found.p == pytest.approx(min(first.pvalue / 0.25, second.pvalue / 0.25, 1.0))
    assert (found.n, found.looked) == (12, 10)
    assert found.mean == pytest.approx(d.mean())
    assert found.deviation == pytest.approx(d[:10].std(ddof=1))


def test_before_the_first_look_there_is_a_mean_and_no_interval():
    found = paired_effect([0.2, 0.4], looks=(5,))
    assert found.mean == pytest.approx(0.3)
    assert found.interval == (-math.inf, math.inf)
    assert (found.sign, found.p, found.looked) == (0, 1.0, 0)


def test_equal_differences_tell_no_deviation():
    same_bits = paired_effect([0.0] * 5, looks=(5,))
    assert same_bits.interval == (0.0, 0.0)
    assert same_bits.p == 1.0
    one_image = paired_effect([1 / 360] * 5, looks=(5,))
    assert one_image.sign == 0
    assert one_image.half_width == math.inf


def test_a_difference_that_is_not_finite_leaves_no_effect():
    found = paired_effect([0.1, math.nan, 0.2], looks=(3,))
    assert math.isnan(found.mean)
    assert (found.looked, found.sign) == (0, 0)


def test_visible_is_what_four_of_five_samples_see(rng):
    n, deviation = 10, 2.0
    d = rng.normal(size=n)
    d = deviation * (d - d.mean()) / d.std(ddof=1)
    effect = paired_effect(d, looks=(n,)).visible
    samples = rng.normal(effect, deviation, size=(4000, n))
    seen = stats.ttest_1samp(samples, 0.0, axis=1).pvalue < 0.05
    assert seen.mean() == pytest.approx(0.8, abs=0.04)


def _closed(p):
    """Holm by closed testing: the worst Bonferroni test of all sets that hold one."""
    own = range(len(p))
    sets = [s for k in own for s in itertools.combinations(own, k + 1)]
    local = {s: min(1, len(s) * min(p[j] for j in s)) for s in sets}
    return [max(p for s, p in local.items() if i in s) for i in own]


def test_holm_is_the_closed_test(rng):
    p = (rng.uniform(size=6) ** 3).tolist()
    assert holm(p) == pytest.approx(_closed(p))
    assert holm([]) == []


def _ledger(rng, effects, planned, resolution):
    """What a table of tricks comes to, each at the look at which it is settled."""
    found = []
    for effect in effects:
        d = rng.normal(effect, 1.0, size=planned[-1])
        for n in planned:
            row = paired_effect(d[:n], looks=planned)
            if row.is_settled(resolution):
                break
        found.append(row)
    return found


def test_intervals_of_a_thousand_ledgers_hold_what_they_promise():
    rng, n, effects = np.random.default_rng(11), 1000, (0.0, 0.4, 1.5)
    planned = looks(20)
    tables = [_ledger(rng, effects, planned, resolution=0.6) for _ in range(n)]
    for k, effect in enumerate(effects):
        covers = np.mean([t[k].interval[0] <= effect <= t[k].interval[1] for t in tables])
        assert covers > 0.95 - 3 * math.sqrt(0.95 * 0.05 / n), effect
    used = [[row.looked for row in t] for t in tables]
    assert np.mean(used, axis=0)[2] < 10  # a large effect takes half of the seeds


def test_looking_often_at_the_plain_interval_would_break_the_promise():
    rng, n = np.random.default_rng(12), 1000
    d = rng.normal(size=(n, 20))
    missed = np.zeros(n, bool)
    for k in looks(20):
        low, high = stats.ttest_1samp(d[:, :k], 0.0, axis=1).confidence_interval(0.95)
        missed |= (low > 0) | (high < 0)
    assert missed.mean() > 0.08


def test_a_table_without_effects_is_called_one_in_at_most_five_of_a_hundred():
    rng, n = np.random.default_rng(13), 1000
    planned = looks(10)
    called = 0
    for _ in range(n):
        table = _ledger(rng, (0.0,) * 4, planned, resolution=0.5)
        called += min(holm([row.p for row in table])) < 0.05
    assert called / n < 0.05 + 3 * math.sqrt(0.95 * 0.05 / n)


def test_pairing_takes_the_variance_of_the_seeds_out(rng):
    seeds, noise, n = 2.0, 0.5, 4000
    shared = rng.normal(0, seeds, n)
    one, other = shared + rng.normal(0, noise, (2, n))
    paired = paired_effect(one - other, looks=(n,))
    unpaired = paired_effect(one - rng.permutation(other), looks=(n,))
    factor = (seeds**2 + noise**2) / noise**2
    found = (unpaired.half_width / paired.half_width) ** 2
    assert found == pytest.approx(factor, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"looks": (5, 3)}, "looks must rise"),
        ({"looks": ()}, "looks must rise"),
        ({"looks": (1, 4)}, "looks must rise"),
        ({"looks": (2,)}, "differences must be 2 at the most"),
        ({"looks": (5,), "error": 1.0}, "error must be in"),
        ({"looks": (5,), "error": 0.0}, "error must be"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        paired_effect([0.1, 0.2, 0.3], **options)


def test_looks_are_halves_with_five_seeds_at_the_least():
    assert looks(20) == (5, 10, 20)
    assert looks(40) == (5, 10, 20, 40)
    assert looks(9) == (9,)
    with pytest.raises(ValueError, match="seeds must be"):
        looks(1)
