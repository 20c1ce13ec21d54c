"""The figure of weight norms shows the record and the lines of the equilibrium."""

import io

import numpy as np
import pytest
from PIL import Image

from optix_tricks.dynamics import WeightNormRecord
from optix_tricks.reports import _weight_norms as weight_norms
from optix_tricks.reports import plot_weight_norms
from optix_tricks.reports._curves import smoothing_window
from optix_tricks.reports._looks import new_figure
from optix_tricks.reports._style import LIGHT


def record(samples=120, layers=3, weight_decay=5e-4, momentum=0.9):
    rng = np.random.default_rng(0)
    values = {
        name: rng.uniform(0.5, 2, (samples, layers)) for name in WeightNormRecord._fields
    }
    return WeightNormRecord(**values)._replace(
        layers=np.array([f"conv{i}/kernel" for i in range(layers)]),
        step=np.arange(samples) * 16,
        learning_rate=np.linspace(0.4, 0, samples),
        weight_decay=np.array(weight_decay),
        momentum=np.array(momentum),
    )


def lines(ax):
    return {line.get_gid(): line.get_ydata() for line in ax.lines if line.get_gid()}


@pytest.mark.parametrize("dark", [False, True])
def test_seven_panels_of_every_layer_and_the_names(dark):
    given = record()
    figure = plot_weight_norms(given, dark=dark)
    *panels, names = figure.axes
    assert len(panels) == 7
    for ax in panels:
        assert set(given.layers) <= set(lines(ax))
    start = given.square_norm[:1]
    shrink, growth, both, square, relative, cosine, rotation = map(lines, panels)
    for i, name in enumerate(given.layers):
        np.testing.assert_allclose(shrink[name], given.shrink[:, i] / start[0, i])
        np.testing.assert_allclose(growth[name], given.growth[:, i] / start[0, i])
        np.testing.assert_allclose(square[name], given.square_norm[:, i] / start[0, i])
        np.testing.assert_array_equal(cosine[name], given.trace_cosine[:, i])
        np.testing.assert_array_equal(relative[name], given.relative_update[:, i])
        np.testing.assert_array_equal(rotation[name], given.rotation[:, i])
        middle = given.trace_cosine[59:62, i]
        assert cosine[f"{name} mean"][60] == pytest.approx(middle.mean())
        assert name in both
    rate = given.learning_rate[:-1]
    np.testing.assert_allclose(
        relative["prediction"][:-1], np.sqrt(2 * rate * 5e-4 * 0.1), rtol=1e-6
    )
    np.testing.assert_allclose(
        rotation["prediction"][:-1], np.sqrt(2 * rate * 5e-4 / 1.9), rtol=1e-6
    )
    assert np.isnan(relative["prediction"][-1])
    said = [text.get_text() for text in names.get_legend().get_texts()]
    assert said == [*given.layers, "equilibrium"]


def test_without_decay_there_are_no_predictions_and_gaps_are_drawn():
    given = record(samples=5, layers=1, weight_decay=0.0, momentum=0.0)
    given.trace_cosine[:] = np.nan
    given.shrink[:] = 0
    figure = plot_weight_norms(given, kind="sgd")
    assert all("prediction" not in lines(ax) for ax in figure.axes)
    file = io.BytesIO()
    figure.savefig(file, dpi=30)
    with Image.open(file) as image:
        assert image.format == "PNG"


def test_what_cannot_be_drawn_raises():
    with pytest.raises(ValueError, match=r"a sample and a layer, got \[120, 0\]"):
        plot_weight_norms(record(layers=0))
    with pytest.raises(ValueError, match=r"kind must be one of .* got 'rms'"):
        plot_weight_norms(record(samples=2), kind="rms")


def test_dots_are_thinned_and_axes_begin_where_it_matters():
    given = record(samples=901, layers=2)
    given.shrink[::2] = 1e-9  # an odd spike leaves the axis
    figure = plot_weight_norms(given)
    shrink, _growth, both, _, relative, *_ = figure.axes
    dots = next(line for line in relative.lines if line.get_gid() == "conv0/kernel")
    np.testing.assert_array_equal(dots.get_xdata(), given.step[::3])  # of 400 at most
    usual = given.shrink / given.square_norm[:1]
    bottom = np.median(usual[usual > 0]) / 100
    for ax in (shrink, both):
        assert ax.get_ylim()[0] == pytest.approx(max(bottom, ax.dataLim.y0), rel=0.9)
    few = plot_weight_norms(record(samples=400)).axes[4].lines[0]
    assert len(few.get_xdata()) == 400


def test_means_leave_out_what_is_not_finite_and_start_is_one():
    given = record(samples=200, layers=1)
    given.trace_cosine[100] = np.nan
    given.square_norm[0] = 0.0  # no start to speak of: nothing is drawn of it
    *_, cosine, _, _ = figure = plot_weight_norms(given).axes
    drawn = lines(cosine)["conv0/kernel mean"]
    width = smoothing_window(200)
    window = slice(101 - width // 2, 102 + width // 2)
    assert drawn[101] == pytest.approx(np.nanmean(given.trace_cosine[window]))
    assert np.isnan(drawn[100])
    assert np.isnan(lines(figure[3])["conv0/kernel"]).all()
    assert set(cosine.lines[0].get_ydata()) == {0}


def test_many_layers_are_named_in_two_columns():
    for layers, columns in ((12, 1), (13, 2), (26, 3)):
        names = plot_weight_norms(record(samples=2, layers=layers)).axes[-1]
        assert names.get_legend()._ncols == columns


def test_eight_panels_have_room():
    size = plot_weight_norms(record(samples=2)).get_size_inches()
    room = new_figure(LIGHT, weight_norms._PANEL, rows=4, columns=2).get_size_inches()
    np.testing.assert_array_equal(size, room)
