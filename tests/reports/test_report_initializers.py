"""The figure of initialisers shows the variances that were measured."""

import io

import numpy as np
import pytest
from PIL import Image

from optix_tricks.initializers import InitializerComparison
from optix_tricks.reports import _initializers as initializers
from optix_tricks.reports import plot_initializers
from optix_tricks.reports._looks import new_figure
from optix_tricks.reports._style import LIGHT


def comparison(nonlinearities=2, names=3, depth=7):
    rng = np.random.default_rng(0)
    shape = (nonlinearities, names, depth)
    return InitializerComparison(
        tuple(f"phi {i}" for i in range(nonlinearities)),
        tuple(f"init {i}" for i in range(names)),
        rng.uniform(1e-3, 2, shape).astype(np.float32),
        rng.uniform(1e-3, 2, shape).astype(np.float32),
    )


@pytest.mark.parametrize("dark", [False, True])
def test_a_column_a_nonlinearity_and_a_line_an_initialiser(dark):
    given = comparison()
    figure = plot_initializers(given, dark=dark)
    rows = (given.activation, given.gradient)
    assert len(figure.axes) == 4
    for ax, measured in zip(figure.axes, np.concatenate(rows), strict=True):
        lines = {line.get_gid(): line for line in ax.lines if line.get_gid()}
        assert tuple(lines) == given.initializers
        for line, values in zip(lines.values(), measured, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 8))
            np.testing.assert_array_equal(line.get_ydata(), values)
        assert ax.get_yscale() == "log"
        assert ax.get_legend() is None
        assert len({line.get_color() for line in lines.values()}) == 3
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["phi 0", "phi 1", "", ""]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "layer", "layer"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(given.initializers)


def test_variances_of_zero_are_gaps_and_it_is_saved_as_a_png():
    given = comparison(1, 4, 3)
    given.activation[0, 1] = [1e-20, 0, np.inf]
    file = io.BytesIO()
    plot_initializers(given).savefig(file, dpi=40)
    with Image.open(file) as image:
        assert image.format == "PNG"


def test_too_many_initialisers_raise():
    with pytest.raises(ValueError, match="at most 4 initialisers, got 5"):
        plot_initializers(comparison(names=5))


def test_both_rows_have_room_and_a_line_at_one():
    figure = plot_initializers(comparison(nonlinearities=3))
    room = new_figure(LIGHT, initializers._PANEL, rows=2, columns=3).get_size_inches()
    np.testing.assert_array_equal(figure.get_size_inches(), room)
    for ax in figure.axes:
        [rule] = [line for line in ax.lines if not line.get_gid()]
        assert set(rule.get_ydata()) == {1}
        assert ax.get_ylim() == (initializers._LOWEST, initializers._HIGHEST)
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert labels[::3] == ["variance of the activations", "variance of the gradients"]


def test_four_initialisers_are_drawn():
    assert len(plot_initializers(comparison(names=4)).axes[0].lines) == 5
