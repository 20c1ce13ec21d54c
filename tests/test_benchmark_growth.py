"""The exponents of how costs grow, against NumPy's fit and laws that are known."""

import numpy as np
import pytest

from benchmarks.exponents import above_floor, fit_power_law


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 2.5])
def test_an_exact_power_law_is_found(exponent):
    x = np.geomspace(10, 1e6, 7)
    law = fit_power_law(x, 3e-4 * x**exponent)
    np.testing.assert_allclose(law.exponent, exponent, atol=1e-12)
    np.testing.assert_allclose(law.factor, 3e-4, rtol=1e-10)
    np.testing.assert_allclose(law.error, 0, atol=1e-10)
    assert (law.first, law.last, law.points) == (10, x[-1], 7)


def test_slope_and_standard_error_are_those_of_polyfit():
    rng = np.random.default_rng(0)
    x = np.array([1.0, 2.0, 5.0, 40.0, 100.0, 700.0])
    y = 2 * x**1.3 * np.exp(rng.normal(0, 0.2, len(x)))
    law = fit_power_law(x, y)
    (slope, level), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    np.testing.assert_allclose(law.exponent, slope, rtol=1e-9)
    np.testing.assert_allclose(law.factor, np.exp(level), rtol=1e-9)
    np.testing.assert_allclose(law.error, np.sqrt(covariance[0, 0]), rtol=1e-9)


def test_the_standard_error_is_the_spread_of_the_exponent():
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 1000, 8)
    laws = [fit_power_law(x, x * np.exp(rng.normal(0, 0.1, 8))) for _ in range(400)]
    spread = np.std([law.exponent for law in laws])
    typical = np.sqrt(np.mean([law.error**2 for law in laws]))
    np.testing.assert_allclose(typical, spread, rtol=0.1)
    assert abs(np.mean([law.exponent for law in laws]) - 1) < 4 * spread / 20


def test_two_points_have_a_slope_and_no_error():
    law = fit_power_law([1.0, 10.0], [5.0, 500.0])
    np.testing.assert_allclose(law.exponent, 2, rtol=1e-12)
    assert np.isnan(law.error)
    with pytest.raises(ValueError, match=r"^x must have at least two points, got 1\.$"):
        fit_power_law([1.0], [5.0])


def test_the_fit_begins_above_the_floor():
    x = np.geomspace(1, 1e6, 13)
    y = 1 + 1e-3 * x
    kept = above_floor(y)
    assert kept == slice(7, 13)
    assert abs(fit_power_law(x, y).exponent - 1) > 0.3
    assert abs(fit_power_law(x[kept], y[kept]).exponent - 1) < 0.1


@pytest.mark.parametrize(
    ("y", "start"),
    [
        ([1.0, 1.0, 1.0, 1.0, 1.0], 2),  # flat: the last three
        ([1.0, 1.0, 1.0, 1.0, 9.0], 2),
        ([1.0, 9.0, 1.0, 9.0, 9.0], 2),  # a dip belongs to the floor
        ([1.0, 2.0, 4.0, 8.0, 16.0], 1),
        ([1.0, 4.0], 0),
    ],
)
def test_at_least_three_points_are_kept(y, start):
    assert above_floor(y) == slice(start, len(y))
