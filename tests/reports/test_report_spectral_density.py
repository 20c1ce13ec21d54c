"""The figure of a spectrum shows the density that was estimated."""

import io

import numpy as np
import pytest
from PIL import Image

from optix_tricks.dynamics import SpectralDensity
from optix_tricks.reports import plot_spectral_density


def spectrum(scale=1.0):
    grid = np.linspace(-1, 5, 200) * scale
    values = np.array([[-0.5, 0.0, 4.0], [-0.4, 0.1, 4.5]]) * scale
    weights = np.array([[0.01, 0.98, 0.01], [0.03, 0.96, 0.01]])
    z = (grid[:, None, None] - values) / (0.1 * scale)
    each = np.sum(weights * np.exp(-(z**2) / 2), axis=2) / (0.1 * scale * 2.5066)
    error = each.std(axis=1, ddof=1) / 2**0.5
    width = np.asarray(0.1 * scale)
    return SpectralDensity(grid, each.mean(axis=1), error, width, values, weights)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e5])
def test_the_curve_is_the_density_and_outliers_are_above_the_floor(dark, scale):
    given = spectrum(scale)
    (ax,) = plot_spectral_density(given, dark=dark).axes
    lines = {line.get_gid(): line for line in ax.lines}
    np.testing.assert_array_equal(lines["density"].get_xdata(), given.grid)
    np.testing.assert_array_equal(lines["density"].get_ydata(), given.density)
    np.testing.assert_array_equal(
        sorted(lines["ends"].get_xdata()), np.array([-0.5, -0.4, 4.0, 4.5]) * scale
    )
    assert ax.get_yscale() == "log"
    assert ax.get_xlim() == (given.grid[0], given.grid[-1])
    bottom, top = ax.get_ylim()
    assert bottom < 0.01 / 2 / (0.1 * scale * 2.5066) < given.density.max() < top


def test_it_is_saved_as_a_png_with_a_band_that_reaches_below_zero():
    given = spectrum()._replace(standard_error=np.ones(200))
    file = io.BytesIO()
    plot_spectral_density(given).savefig(file, dpi=40)
    with Image.open(file) as image:
        assert image.format == "PNG"


def test_the_axis_reaches_below_the_lightest_end_and_above_the_top():
    given = spectrum()
    bottom, top = plot_spectral_density(given).axes[0].get_ylim()
    # A Gaussian of the lighter outermost weight, 0.01, whose width is 0.1.
    assert bottom == pytest.approx(0.01 / (0.1 * np.sqrt(2 * np.pi)) / 10)
    assert top == pytest.approx(3 * given.density.max())
    light = np.where(given.weights < 0.5, 1e-15, given.weights)
    bottom, top = plot_spectral_density(given._replace(weights=light)).axes[0].get_ylim()
    assert bottom == pytest.approx(1e-10 * given.density.max())


def test_the_band_is_of_two_standard_errors_above_the_floor():
    given = spectrum()._replace(standard_error=np.full(200, 0.05))
    (ax,) = plot_spectral_density(given).axes
    rule, *_ = ax.lines
    assert set(rule.get_xdata()) == {0}
    outline = ax.collections[0].get_paths()[0].vertices
    bottom = ax.get_ylim()[0]
    for i in (5, 34, 163):
        edges = outline[np.isclose(outline[:, 0], given.grid[i]), 1]
        low, high = given.density[i] - 0.1, given.density[i] + 0.1
        np.testing.assert_allclose([edges.min(), edges.max()], [max(low, bottom), high])
    ends = next(line for line in ax.lines if line.get_gid() == "ends")
    assert len(set(ends.get_ydata())) == 1
    assert ends.get_ydata()[0] < 0.1  # of the panel's height
