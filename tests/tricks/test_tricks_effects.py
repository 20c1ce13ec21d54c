"""What cards say of a trick's effect: the committed ledger, computed again by SciPy."""

import json

import numpy as np
import pytest
from scipy import stats

from benchmarks import ledger
from optix_tricks.tricks import TRICKS, card, find_trick, measured_effects


def runs():
    """Test accuracies by the name of the arm and the seed."""
    path = ledger.LEDGERS / ledger.MAIN / "ledger.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    found = {}
    for row in rows:
        if row["kind"] == "run":
            found.setdefault(row["name"], {})[row["seed"]] = row["test_accuracy"]
    return found


def test_the_package_says_what_the_ledger_says():
    told = json.loads(ledger.EFFECTS.read_text())
    assert told == json.loads(json.dumps(ledger.effects(ledger.summary())))


def test_effects_are_paired_t_intervals_of_the_trainings():
    found, effects = runs(), measured_effects()
    assert len(effects) >= 40
    assert {*effects} <= {*TRICKS}
    for name, effect in effects.items():
        own = found[f"+{name}"]
        d = 100 * np.array([own[seed] - found["base"][seed] for seed in own])
        assert len(d) == effect.seeds == 5
        low, high = stats.ttest_1samp(d, 0.0).confidence_interval(0.95)
        assert effect.points == pytest.approx(d.mean(), abs=2e-3), name
        assert effect.half_width == pytest.approx((high - low) / 2, abs=2e-3), name
        is_sure = low > 0 or high < 0
        assert (effect.verdict in ("helps", "hurts")) == is_sure, name


def test_times_of_steps_are_those_of_the_ledger():
    path = ledger.LEDGERS / ledger.MAIN / "ledger.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    costs = {row["name"]: row for row in rows if row["kind"] == "cost"}
    told = {name: x.step for name, x in measured_effects().items() if x.step}
    assert {f"+{name}" for name in told} == {*costs}
    assert len(costs) >= 40
    for name, (ratio, low, high) in told.items():
        cost = costs[f"+{name}"]
        assert ratio == pytest.approx(cost["step_ratio"], abs=1e-3)
        assert np.log(high / low) == pytest.approx(2 * cost["step_error"], abs=3e-3)
        assert low < ratio < high
    assert 1.5 < told["sam"][0] < 2.5  # two gradients in place of one


def test_a_card_shows_it():
    said = card(find_trick("mixup"))
    effect = measured_effects()["mixup"]
    assert f"measured  {effect.points:+.2f} ± {effect.half_width:.2f} points" in said
    assert "16 pixels" in said
    assert "measured  not yet" in card(find_trick("hints"))
