"""The labelled suite that `benchmarks/diagnosis.py` trains, and how it counts."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.diagnosis import CUTS, KINDS, SETTINGS, WELL, judged, summary, wilson
from optix_tricks.dynamics import History
from tests.dynamics import failures

CASES = {
    (split, case.kind, case.name): case
    for split, cases in SETTINGS.items()
    for case in cases
}


def test_the_suite_has_enough_kinds_and_no_setting_twice():
    assert len(CASES) == sum(len(cases) for cases in SETTINGS.values())
    for split, cases in SETTINGS.items():
        kinds = Counter(case.kind for case in cases)
        assert kinds.keys() == set(KINDS) - {"undecided"}
        assert min(kinds.values()) >= 2, split
        assert sum(kinds[kind] for kind in WELL) >= 16


def test_what_the_runs_log_is_what_they_did():
    (history,) = CASES["tuning", "rate too small", "sgd"].make(range(50, 51))
    np.testing.assert_allclose(history.update_norm, 1e-5 * history.gradient_norm, 1e-5)
    layers = np.stack(list(history.layer_gradient_norm.values()))
    assert (np.sqrt((layers**2).sum(0)) <= 1.0001 * history.gradient_norm).all()
    # At such a rate the gradient does not change: what is left of the cosine is noise,
    # cos = |G|^2 / (|G|^2 + trace / B), and so is the noise scale, trace / |G|^2.
    share = 1 / (1 + np.median(history.noise_scale) / history.batch_size[0])
    assert np.nanmean(history.gradient_cosine) == pytest.approx(share, rel=0.1)


def test_wilsons_interval_is_that_of_scipy():
    from scipy.stats import binomtest

    for hits, runs in [(0, 150), (3, 150), (75, 150), (150, 150)]:
        wanted = binomtest(hits, runs).proportion_ci(method="wilson")
        assert wilson(hits, runs) == pytest.approx(wanted, abs=1e-6)


def written(kind, loss, **columns):
    """A setting whose runs are written down and not trained."""
    rows = len(loss)
    columns = {name: np.full(rows, float(x)) for name, x in columns.items()}
    return failures.Case(
        kind, f"{kind}, written", lambda seeds: [History(loss, **columns) for _ in seeds]
    )


def test_the_benchmark_counts_verdicts_and_alarms(monkeypatch):
    steps = np.arange(400)
    falling, flat = np.exp(-steps / 200), np.full(400, 1.3)
    cases = [
        written("healthy", falling),
        written("healthy", flat, gradient_cosine=-0.99),  # an alarm
        written("rate too large", flat, gradient_cosine=-0.99),
        written("plateau", flat),
    ]
    monkeypatch.setitem(SETTINGS, "held_out", cases)
    rows = judged(["held_out"], 3)
    assert [dict(row["all"]) for row in rows] == [
        {"healthy": 3},
        {"rate too large": 3},
        {"rate too large": 3},
        {"plateau": 3},
    ]
    # What the training step logs has no cosines, so the same runs are plateaus there.
    assert [dict(row["usual"]) for row in rows[1:]] == [{"plateau": 3}] * 3
    everything, *alarms = (row for row in summary(rows) if row["logs"] == "all")
    counts = np.array(everything["counts"])
    assert counts.sum() == 12
    assert counts[KINDS.index("healthy"), KINDS.index("rate too large")] == 3
    assert [row["part"] for row in alarms] == list(CUTS)
    last = alarms[-1]
    assert (last["runs"], last["alarms"], last["rate"]) == (6, 3, 0.5)
    assert (last["low"], last["high"]) == wilson(3, 6)
