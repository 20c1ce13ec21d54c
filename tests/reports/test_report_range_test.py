"""The figure of a range test shows its curve and marks what it suggests."""

import io

import numpy as np
import pytest
from PIL import Image

from optix_tricks.dynamics import RangeTest, suggest_learning_rates
from optix_tricks.reports import plot_range_test
from optix_tricks.reports._range_test import _limits

RATES = np.geomspace(1e-5, 10, 61)
X = np.log10(RATES)


def curve(seeds=3, stop=50):
    rng = np.random.default_rng(0)
    smooth = 3 - 2 / (1 + np.exp(-4 * (X + 2.5))) + 8 * np.maximum(X + 0.5, 0) ** 2
    smoothed = smooth + np.linspace(0, 0.2, seeds)[:, None]
    smoothed[:, stop:] = np.nan
    losses = smoothed + 0.05 * rng.standard_normal(smoothed.shape)
    error = np.std(smoothed, axis=0, ddof=1) / np.sqrt(seeds) if seeds > 1 else X * np.nan
    stops = np.full(seeds, stop)
    return RangeTest(RATES, losses, smoothed, smoothed.mean(axis=0), error, stops, 0.2)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_mean_the_losses_and_a_line_a_suggestion(seeds, dark):
    test = curve(seeds)
    suggestions = suggest_learning_rates(test)
    figure = plot_range_test(test, suggestions, title="digits", dark=dark)
    (ax,) = figure.axes
    lines = {line.get_gid(): line for line in ax.lines if line.get_gid()}
    np.testing.assert_array_equal(lines["mean"].get_ydata(), test.mean)
    np.testing.assert_array_equal(lines["mean"].get_xdata(), RATES)
    for rule, suggestion in suggestions._asdict().items():
        assert not suggestion.reason
        assert set(lines[rule].get_xdata()) == {suggestion.rate}
    dots = [line.get_ydata() for line in ax.lines if line.get_marker() == "."]
    np.testing.assert_array_equal(dots, test.losses)
    assert ax.get_xscale() == "log"
    assert ax.get_title(loc="left") == "digits"
    low, high = ax.get_ylim()
    assert low < np.nanmin(test.mean) < test.mean[0] < high < 6
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text().startswith("steepest 0.0")
    assert ax.get_legend() is None


def test_the_undecided_are_named_and_an_empty_curve_is_drawn():
    test = curve(2, stop=0)
    figure = plot_range_test(test, suggest_learning_rates(test))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [f"{x}: undecided" for x in ("steepest", "minimum / 10", "valley")]
    file = io.BytesIO()
    figure.savefig(file, dpi=40)
    with Image.open(file) as image:
        assert image.format == "PNG"


def test_each_suggestion_has_a_strip_of_its_standard_error():
    test = curve(3)
    suggestions = suggest_learning_rates(test)
    (ax,) = plot_range_test(test, suggestions).axes
    for strip, suggestion in zip(ax.patches, suggestions, strict=True):
        factor = 10**suggestion.standard_error
        left, right = strip.get_x(), strip.get_x() + strip.get_width()
        np.testing.assert_allclose(
            [left, right], [suggestion.rate / factor, suggestion.rate * factor]
        )
    (band,) = ax.collections
    outline = band.get_paths()[0].vertices
    i = 10
    edges = outline[np.isclose(outline[:, 0], RATES[i]), 1]
    wanted = test.mean[i] - test.standard_error[i], test.mean[i] + test.standard_error[i]
    np.testing.assert_allclose([edges.min(), edges.max()], wanted)
    assert ax.get_xlim() == (RATES[0], RATES[-1])


def test_the_axis_spans_the_fall_with_room_and_no_explosion():
    mean = np.array([np.nan, 3.0, 2.0, 1.0, 50.0])
    losses = np.array([[9.0, 3.0, 2.0, 1.0, 50.0]])
    low, high = _limits(mean, losses)
    assert (low, high) == pytest.approx((1 - 0.15 * 2, 3 + 0.5 * 2))
    # A few dots may lie lower than the mean, two in a hundred below the axis.
    dots = np.r_[np.linspace(0.5, 1, 51), np.ones(50)][None]
    lowest = np.quantile(dots, 0.02)
    assert _limits(mean, dots)[0] == pytest.approx(lowest - 0.15 * (3 - lowest))
    flat = np.full(5, -4.0)
    assert _limits(flat, flat[None]) == pytest.approx((-4 - 0.15 * 0.2, -4 + 0.5 * 0.2))
    low, high = _limits(np.zeros(5), np.zeros((1, 5)))
    assert low < 0 < high
