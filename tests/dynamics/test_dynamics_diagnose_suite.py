"""A part of the labelled suite; all of it is run by `benchmarks/diagnosis.py`."""

import functools
import json
from collections import Counter

import numpy as np
import pytest

from benchmarks.diagnosis import CUTS, KINDS, NO_ALARM, SETTINGS, wilson
from benchmarks.timing import RESULTS
from optix_tricks.dynamics import diagnose
from tests.dynamics import failures

CASES = {
    (split, case.kind, case.name): case
    for split, cases in SETTINGS.items()
    for case in cases
}
QUICK = [
    ("tuning", "rate too large", "toy, walls"),
    ("tuning", "ill-conditioned", "toy, crawl"),
    ("tuning", "critical point", "toy, product"),
    ("tuning", "noise floor", "toy, quadratic"),
    ("tuning", "rate too small", "sgd"),
]


def test_the_suite_has_enough_kinds_and_no_setting_twice():
    assert len(CASES) == sum(len(cases) for cases in SETTINGS.values())
    for split, cases in SETTINGS.items():
        kinds = Counter(case.kind for case in cases)
        assert kinds.keys() == set(KINDS) - {"undecided"}
        assert min(kinds.values()) >= 2, split
        assert kinds["healthy"] + kinds["converged"] >= 16


@functools.cache
def runs(name):
    return CASES[name].make(range(50, 53))


@pytest.mark.parametrize("name", QUICK, ids=lambda name: "-".join(name[1:]))
def test_failures_are_named(name):
    for history in runs(name):
        assert diagnose(history).verdict == CASES[name].kind


def test_healthy_runs_raise_no_alarm():
    for history in runs(("tuning", "healthy", "warm-up, cosine")):
        assert diagnose(history).verdict in NO_ALARM
        usual = failures.keep(history, failures.USUAL)
        assert diagnose(usual).verdict in NO_ALARM


def test_what_the_runs_log_is_what_they_did():
    history = runs(QUICK[-1])[0]
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


def test_the_committed_result_keeps_what_is_promised():
    """Fewer than one false alarm in twenty on what no threshold has seen."""
    result = json.loads((RESULTS / "diagnosis_cpu.json").read_text())
    alarms = [row for row in result["rows"] if row.get("split") == "held_out"]
    alarms = [row for row in alarms if "alarms" in row]
    assert len(alarms) == 2 * len(CUTS)
    for row in alarms:
        assert row["runs"] >= 150
        assert row["rate"] == row["alarms"] / row["runs"] < 0.05
    settings = {row["setting"] for row in result["rows"] if "setting" in row}
    assert settings == {name for _, _, name in CASES}
