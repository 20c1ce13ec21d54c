"""The figure of a rate sweep shows each network's trainings, means and best rate."""

import numpy as np
import pytest

from optix_tricks.reports import plot_rate_sweep
from optix_tricks.reports._rate_sweep import _errors

RATES = [0.1, 0.2, 0.4]
TABLE = [[0.5, 0.6], [0.8, np.nan], [0.6, 0.7]]


@pytest.mark.parametrize("dark", [False, True])
def test_means_are_over_the_trainings_that_did_not_diverge(dark):
    (ax,) = plot_rate_sweep(RATES, {"narrow": TABLE}, dark=dark).axes
    dots = ax.lines[0]
    np.testing.assert_allclose(sorted(dots.get_ydata()), [50, 60, 60, 70, 80])
    line = next(line for line in ax.lines if line.get_label() == "narrow")
    np.testing.assert_allclose(line.get_ydata(), [55, 80, 65])
    ring = ax.lines[-1]
    np.testing.assert_allclose([*ring.get_xdata(), *ring.get_ydata()], [0.2, 80])
    (bars,) = ax.containers
    heights = [np.ptp(segment[:, 1]) / 2 for segment in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(heights, [5, 0, 5])  # sd/sqrt(2) of a pair 10 apart


def test_a_rate_at_which_all_diverged_is_left_out():
    table = [[0.5], [0.8], [np.nan]]
    (ax,) = plot_rate_sweep(RATES, {"narrow": table}).axes
    line = next(line for line in ax.lines if line.get_label() == "narrow")
    np.testing.assert_allclose(line.get_xdata(), [0.1, 0.2])


def test_smoothing_keeps_a_constant_and_lies_between_the_points():
    tables = {"flat": np.full((3, 2), 0.7), "peak": [[0.5], [0.9], [0.5]]}
    (ax,) = plot_rate_sweep(RATES, tables, smooth=True).axes
    flat, peak = (
        next(line for line in ax.lines if line.get_label() == name).get_ydata()
        for name in tables
    )
    np.testing.assert_allclose(flat, 70)
    assert 50 < peak.min() < peak.max() < 90
    assert np.argmax(peak) == 50  # the middle of the 101 points


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match=r"\[3 rates, seeds\], got \[2, 1\] for 'a'"):
        plot_rate_sweep(RATES, {"a": [[0.1], [0.2]]})
    with pytest.raises(ValueError, match="at most 4 networks, got 5"):
        plot_rate_sweep(RATES, {name: TABLE for name in "abcde"})


def test_a_smooth_line_is_a_gaussian_mean_over_decades():
    table = np.array([[0.5, 0.6], [0.8, np.nan], [0.6, 0.7]])
    (ax,) = plot_rate_sweep(RATES, {"a": table}, smooth=True).axes
    line = next(line for line in ax.lines if line.get_label() == "a")
    at, values = np.repeat(np.log10(RATES), 2), table.ravel()
    kept = np.isfinite(values)
    for x, y in zip(*(data[::25] for data in line.get_data()), strict=True):
        apart = (np.log10(x) - at[kept]) / 0.3
        weights = np.exp(-0.5 * apart * apart)
        assert y == pytest.approx(100 * np.average(values[kept], weights=weights))
    assert [line.get_xdata()[0], line.get_xdata()[-1]] == pytest.approx([0.1, 0.4])
    left, right = ax.get_xlim()
    assert (left, right) == pytest.approx((0.1 / 10**0.1, 0.4 * 10**0.1))


def test_errors_are_of_the_mean_of_the_trainings_left():
    table = np.array([[0.1, 0.2, 0.6, np.nan], [0.5, np.nan, np.nan, np.nan]])
    want = np.std([0.1, 0.2, 0.6], ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(_errors(table), [want, 0])


def test_four_networks_have_a_colour_each():
    (ax,) = plot_rate_sweep(RATES, {name: TABLE for name in "abcd"}).axes
    lines = [line for line in ax.lines if line.get_label() in set("abcd")]
    assert len({line.get_color() for line in lines}) == 4
