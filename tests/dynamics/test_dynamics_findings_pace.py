"""Verdicts from the loss's pace and the gradient's size."""

import math

import pytest

from optix_tricks.dynamics.diagnosis import _findings_pace as rules
from optix_tricks.dynamics.diagnosis import _thresholds as at
from tests.dynamics.symptoms import at_share, power, stuck

QUARTER = 0.25


def test_a_loss_diverged_that_is_no_number_or_rises_above_its_start_for_certain():
    lost = rules.diverged(stuck(is_finite=False))
    assert lost.score == 1
    assert "not a finite number" in lost.evidence[0]
    rising = {
        "level": at_share(at.RISE, 1),
        "fall": at_share(at.GROWTH, 1),
        "certainty": -at_share(at.SIGNIFICANCE, 1),
    }
    assert rules.diverged(stuck(**rising)).score == 1
    assert rules.diverged(stuck(**rising | {"first": 0.0})).score == 0
    for changes in (
        {"level": at_share(at.RISE, QUARTER)},
        {"fall": at_share(at.GROWTH, QUARTER)},
        {"certainty": -at_share(at.SIGNIFICANCE, QUARTER)},
    ):
        found = rules.diverged(stuck(**rising | changes)).score
        assert found == pytest.approx(QUARTER)


def test_a_healthy_loss_falls():
    falling = stuck(fall=at_share(at.FALL, QUARTER), certainty=99.0)
    assert rules.healthy(falling).score == pytest.approx(QUARTER)


def test_converged_is_flat_at_an_optimum_or_at_the_end_of_the_schedule():
    right = {"accuracy": at_share(at.ACCURACY, 3 * QUARTER)}
    over = {"rate_left": power(at.RATE_LEFT, QUARTER)}
    assert rules.converged(stuck()).score == 0
    assert rules.converged(stuck(**right)).score == pytest.approx(3 * QUARTER)
    far = {"level": 1 - at_share(at.FELL_FAR, 1)}
    assert rules.converged(stuck(**over)).score == 0  # nothing was learnt
    assert rules.converged(stuck(**over | far)).score == pytest.approx(QUARTER)
    assert rules.schedule_ended(stuck(**over)).score == pytest.approx(QUARTER)
    assert rules.schedule_ended(stuck(**over | right)).score == pytest.approx(QUARTER)
    gone = {"rate_left": power(at.RATE_LEFT, 1)}
    assert rules.schedule_ended(stuck(**gone)).score == 1
    assert rules.schedule_ended(stuck(**gone | far)).score == 0
    left = rules.schedule_ended(stuck(**gone | right)).score
    assert left == pytest.approx(QUARTER)
    falling = right | {"fall": at_share(at.FALL, 3 * QUARTER), "certainty": 99.0}
    assert rules.converged(stuck(**falling)).score == pytest.approx(QUARTER)


def test_the_evidence_of_convergence_is_what_speaks_for_it():
    for changes, said in [
        ({"accuracy": at.ACCURACY[0]}, False),
        ({"accuracy": at.ACCURACY[0] + 0.01}, "Training accuracy is"),
        ({"lowest_curvature": at.NEGATIVE}, False),
        ({"lowest_curvature": 0.5}, "5.0e-01 of the largest"),
        ({"rate_left": 0.001}, "at 0.1% of its peak"),
    ]:
        pace, *evidence = rules.converged(stuck(**changes)).evidence
        assert "the loss" in pace
        assert len(evidence) == bool(said)
        if said:
            assert said in evidence[0]


def test_a_critical_point_is_where_one_is_stuck_on_a_flat_surface():
    found = rules.critical_point(stuck(pull=power(at.SMALL_PULL, QUARTER)))
    assert found.score == pytest.approx(QUARTER)
    patience = {"rows": at_share(at.PATIENCE, QUARTER)}
    found = rules.critical_point(stuck(pull=power(at.SMALL_PULL, 1), **patience))
    assert found.score == pytest.approx(QUARTER)


def test_the_evidence_of_a_critical_point():
    for changes, said in [
        ({"product": 1e-3, "pull": 1e-3}, ["is 1.0e-03 (usual", "needs the curvature"]),
        (
            {"product": 1e-2, "pull": 1e-3},
            ["is 1.0e-02, 1.0e-03 without its noise", "needs the curvature"],
        ),
        ({"gradient_left": 0.1}, ["needs the curvature"]),
        ({"gradient_left": 0.12}, ["needs the curvature"]),
        ({"gradient_left": 0.09}, ["9.0e-02 of the run's", "needs the curvature"]),
        ({"product": 1e-3, "lowest_curvature": at.NEGATIVE}, ["1.0e-03", "is a saddle"]),
        ({"product": 1e-3, "lowest_curvature": 0.0}, ["1.0e-03"]),
    ]:
        _, *evidence = rules.critical_point(stuck(**changes)).evidence
        assert len(evidence) == len(said)
        for sentence, words in zip(evidence, said, strict=True):
            assert words in sentence


def test_a_plateau_is_flat_while_the_rate_stays():
    assert rules.plateau(stuck()).score == 1
    falls = {"rate_growth": at_share(at.RATE_FALLS, 1 - QUARTER)}
    assert rules.plateau(stuck(**falls)).score == pytest.approx(QUARTER)
    assert rules.plateau(stuck(certainty=math.nan)).score == 0
