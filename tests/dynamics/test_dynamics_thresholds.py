"""Ramps between two values, and logarithms that do not raise."""

import math

import pytest

from optix_tricks.dynamics.diagnosis._thresholds import decades, ramp


@pytest.mark.parametrize("pair", [(2.0, 6.0), (6.0, 2.0), (-1.0, 3.0)])
def test_a_ramp_goes_straight_from_the_first_value_to_the_second(pair):
    low, high = pair
    for share in (0.0, 0.25, 0.75, 1.0):
        assert ramp(low + share * (high - low), pair) == pytest.approx(share)
    assert ramp(low - 0.1 * (high - low), pair) == 0
    assert ramp(high + 0.1 * (high - low), pair) == 1
    assert ramp(math.nan, pair) == 0


def test_decades_are_minus_infinity_at_zero_and_unknown_below():
    assert decades(1e3) == pytest.approx(3)
    assert decades(1.0) == 0
    assert decades(0.5) == pytest.approx(-0.30103, abs=1e-5)
    assert decades(0.0) == -math.inf
    assert math.isnan(decades(-2.0))
    assert math.isnan(decades(math.nan))
