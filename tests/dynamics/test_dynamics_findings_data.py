"""Verdicts on the data: over-fitting, noise, and batches that are too large."""

import numpy as np
import pytest

from optix_tricks.dynamics import History
from optix_tricks.dynamics.diagnosis import _findings_data as rules
from optix_tricks.dynamics.diagnosis import _thresholds as at
from tests.dynamics.symptoms import at_share, power, stuck

QUARTER = 0.25


def over_fitting(losses, accuracies=None, **changes):
    tests = {"test_step": np.arange(len(losses)) + 1.0, "test_loss": np.array(losses)}
    if accuracies is not None:
        tests["test_accuracy"] = np.array(accuracies)
    return rules.over_fitting(stuck(**changes), History(np.ones(3), **tests))


def test_the_test_loss_rises_above_its_best_in_medians_of_three():
    """Medians are 2 (the best, of the first three), 2 x, 2 x; one low test is nothing."""
    rise = at_share(at.TEST_RISE, QUARTER)
    losses = [0.1, 2.0, 9.0, 2 * (1 + rise), 2 * (1 + rise)]
    found = over_fitting(losses, level=1e-9)
    assert found.score == pytest.approx(QUARTER)
    assert f"{2 * (1 + rise):.4g}, {rise:.0%} above its best" in found.evidence[1]
    assert over_fitting([0.1, *losses[2:]], level=1e-9).score == 0  # of four tests
    last = 2 * (1 + at_share(at.TEST_RISE, 1))
    losses[3:] = [last, last]
    gap = power(at.LOSS_GAP, QUARTER)
    assert over_fitting(losses, level=last / gap).score == pytest.approx(QUARTER)
    assert over_fitting(losses, level=0.0).score == 0
    falling = over_fitting([5.0, 4.0, 3.0, 2.0, 1.0], level=1e-9)
    assert falling.score == 0
    assert "2, 0% above its best" in falling.evidence[1]
    assert over_fitting([0.0, 0.0, 0.0, 1.0, 1.0], level=1e-9).score == 0


def test_accuracies_part_where_the_test_loss_rises_or_by_far():
    """The median of the last three tests is 0.5."""
    accuracies = [0.1, 0.1, 0.5, 0.9, 0.2]
    rises, flat = [1.0, 1.0, 1.0, 9.0, 9.0], [1.0] * 5
    small = {"accuracy": 0.5 + at_share(at.SMALL_GAP, QUARTER)}
    found = over_fitting(rises, accuracies, **small)
    assert found.score == pytest.approx(QUARTER)
    gap = at_share(at.SMALL_GAP, QUARTER)
    assert f"{gap:.1%} higher" in found.evidence[2]
    assert over_fitting(flat, accuracies, **small).score == 0
    large = {"accuracy": 0.5 + at_share(at.LARGE_GAP, QUARTER)}
    assert over_fitting(flat, accuracies, **large).score == pytest.approx(QUARTER)
    rise = 1 + at_share(at.TEST_RISE, QUARTER)
    slow = [1.0, 1.0, 1.0, rise, rise]
    most = {"accuracy": 0.5 + at.SMALL_GAP[1]}
    assert over_fitting(slow, accuracies, **most).score == pytest.approx(QUARTER)


NOISY = {"cosine": 0.0, "pull": 1.0}


def test_noise_holds_a_loss_where_nothing_else_does():
    for changes, wanted in [
        ({}, 1),
        ({"cosine": -at_share(at.UNRELATED, QUARTER)}, QUARTER),
        (
            {"cosine": 1.0, "noise_over_batch": power(at.NOISE_ABOVE_BATCH, QUARTER)},
            QUARTER,
        ),
        ({"rows": at_share(at.PATIENCE, QUARTER)}, QUARTER),
        ({"pull": power(at.SMALL_PULL, 1 - QUARTER)}, QUARTER),
        ({"rate_growth": at_share(at.RATE_FALLS, 1 - QUARTER)}, QUARTER),
        ({"level": 1 - at_share(at.FELL, QUARTER)}, QUARTER),
        ({"turnover": power(at.TURNOVER, 1 - QUARTER)}, QUARTER),
    ]:
        assert rules.noise_floor(stuck(**NOISY | changes)).score == pytest.approx(wanted)


def test_the_evidence_of_noise():
    found = rules.noise_floor(stuck(cosine=0.05, gradient=0.5, noise_over_batch=40.0))
    _, unrelated, noisy = found.evidence
    assert "(cosine 0.05)" in unrelated
    assert "(0.5)" in unrelated
    assert "is 40.0 times the batch" in noisy


def test_a_batch_is_too_large_above_the_noise_scale():
    times = power(at.BATCH_ABOVE_NOISE, QUARTER)
    found = rules.batch_too_large(stuck(noise_over_batch=1 / times))
    assert found.score == pytest.approx(QUARTER)
    assert f"is {times:.0f} times the noise scale" in found.evidence[1]
    right = {"accuracy": at_share(at.ACCURACY, 1 - QUARTER)}
    found = rules.batch_too_large(stuck(noise_over_batch=1e-6, **right))
    assert found.score == pytest.approx(QUARTER)
    assert rules.batch_too_large(stuck(noise_over_batch=0.0)).score == 0
