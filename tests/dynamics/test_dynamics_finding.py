"""What the rules have in common, a quarter of the way through each threshold."""

import math

import pytest

from optix_tricks.dynamics.diagnosis import _finding as finding
from optix_tricks.dynamics.diagnosis import _thresholds as at
from tests.dynamics.symptoms import at_share, power, stuck

QUARTER = 0.25


def score(rule, *arguments, **changes):
    return rule(stuck(**changes), *arguments)


def test_a_loss_that_falls_does_so_by_enough_and_for_certain():
    much, sure = at_share(at.FALL, 1), at_share(at.SIGNIFICANCE, 1)
    assert score(finding.improving, fall=much, certainty=sure) == 1
    for changes in (
        {"fall": at_share(at.FALL, QUARTER), "certainty": sure},
        {"fall": much, "certainty": at_share(at.SIGNIFICANCE, QUARTER)},
    ):
        assert score(finding.improving, **changes) == pytest.approx(QUARTER)


LOW = {"level": power(at.LEVEL_LEFT, QUARTER)}
SLOW = {"certainty": 99.0, "fall": at_share(at.CRAWL, 1)}
SMALL = {"pull": power(at.SMALL_PULL, 1), "product": power(at.SMALL_PULL, 1)}


def test_an_optimum_is_low_or_right_or_a_minimum():
    for changes, wanted in [
        ({}, 0),
        (LOW, QUARTER),
        (LOW | {"first": 0.0}, 0),
        # Straight down a slope that does not end is no optimum.
        (LOW | SLOW | {"cosine": at_share(at.COHERENT, 1)}, 0),
        ({"level": -1.0}, 1),  # below zero at the end, from one
        ({"accuracy": at_share(at.ACCURACY, QUARTER)}, QUARTER),
        (SMALL | {"level": 1 - at_share(at.FELL_FAR, QUARTER)}, QUARTER),
        (
            {
                "level": 1 - at_share(at.FELL_FAR, 1),
                "pull": power(at.SMALL_PULL, 1),  # without its noise: not certain
                "product": power(at.SMALL_PULL, QUARTER),
            },
            QUARTER,
        ),
        (SMALL | {"level": 1 - at_share(at.FELL, QUARTER)}, 0),
        (
            SMALL | {"level": 1 - at_share(at.FELL, QUARTER), "lowest_curvature": 0.0},
            QUARTER,
        ),
        (SMALL | {"lowest_curvature": at.NEGATIVE}, 0),  # a saddle, just so
        (SMALL | {"lowest_curvature": -1.0}, 0),
    ]:
        assert score(finding.at_optimum, **changes) == pytest.approx(wanted)


def test_a_crawl_is_slow_certain_and_of_one_direction():
    assert score(finding.crawls, 1.0, **SLOW) == 1
    for changes in (
        {"certainty": at_share(at.SIGNIFICANCE, QUARTER)},
        {"fall": at_share(at.CRAWL, QUARTER)},
        {"gradient_fall": at_share(at.ARRIVING, 1 - QUARTER)},
        {"level": 1 - at_share(at.FELL, QUARTER)},
    ):
        found = score(finding.crawls, 1.0, **SLOW | changes)
        assert found == pytest.approx(QUARTER)
    assert score(finding.crawls, QUARTER, **SLOW) == QUARTER


def test_a_schedule_ends_a_run_that_learnt_something():
    over = {"rate_left": power(at.RATE_LEFT, 1)}
    assert score(finding.finished, **over) == 1
    less = {"rate_left": power(at.RATE_LEFT, QUARTER)}
    assert score(finding.finished, **less) == pytest.approx(QUARTER)
    little = over | {"level": 1 - at_share(at.FELL, QUARTER)}
    assert score(finding.finished, **little) == pytest.approx(QUARTER)
    assert score(finding.fell, first=0.0) == 0
    assert score(finding.fell, first=4.0, level=1.0) == 0.75


def test_a_rate_on_its_way_down_falls_or_has_fallen():
    falls = {"rate_growth": at_share(at.RATE_FALLS, QUARTER)}
    lowered = {"rate_left": power(at.RATE_LOWERED, 3 * QUARTER)}
    assert score(finding.annealing, **falls) == pytest.approx(QUARTER)
    assert score(finding.annealing, **lowered) == pytest.approx(3 * QUARTER)
    assert score(finding.annealing, **falls | lowered) == pytest.approx(3 * QUARTER)


def test_a_loss_stalls_after_some_patience_and_not_in_a_warm_up():
    assert score(finding.stalled) == 1
    assert score(finding.stalled, rate_growth=at.RISING_RATE) == 1
    assert score(finding.stalled, rate_growth=at.RISING_RATE + 0.01) == 0
    assert score(finding.stalled, certainty=math.nan) == 0
    for changes in (
        {"rows": at_share(at.PATIENCE, QUARTER)},
        {"fall": at_share(at.FALL, 1 - QUARTER), "certainty": 99.0},
        {"accuracy": at_share(at.ACCURACY, 1 - QUARTER)},
        {"rate_left": power(at.RATE_LEFT, 1 - QUARTER)},
    ):
        assert score(finding.stalled, **changes) == pytest.approx(QUARTER), changes


def test_it_is_stuck_where_three_standard_errors_hide_no_fall():
    assert score(finding.stuck) == 1
    hidden = at_share(at.HIDDEN_FALL, 1 - QUARTER)
    for fall in (0.0, 0.01, -0.03):
        error = (hidden - fall) / 3
        found = score(finding.stuck, fall=fall, fall_error=error)
        assert found == pytest.approx(QUARTER)


def test_a_gradient_is_small_against_the_loss_or_else_its_own_past():
    size = power(at.SMALL_PULL, QUARTER)
    assert score(finding.small_gradient, pull=size) == pytest.approx(QUARTER)
    assert score(finding.small_gradient, gradient_left=size) == pytest.approx(QUARTER)
    found = score(finding.small_gradient, pull=1.0, gradient_left=size)
    assert found == 0


def test_the_pace_in_words():
    said = score(finding.pace, fall=0.125, fall_error=0.01, level=0.5, first=2.0)
    assert "fell by 12.50% (standard error 1.00%), to 0.5 from 2 at" in said
    assert "the loss rose by 12.50%" in score(finding.pace, fall=-0.125)
    assert "the loss fell by 0.00%" in score(finding.pace)
    assert "too few finite losses" in score(finding.pace, certainty=math.nan)
