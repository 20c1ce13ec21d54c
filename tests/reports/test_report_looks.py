"""Figures grow with their panels; ticks are few on any scale."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from optix_tricks.reports._looks import few_ticks, name_lines, new_figure
from optix_tricks.reports._style import LIGHT


def test_a_figure_has_room_for_its_panels():
    def size(*counts):
        figure = new_figure(LIGHT, (3.0, 2.0), rows=counts[0], columns=counts[1])
        return figure.get_size_inches()

    one = size(1, 1)
    assert (one > [3, 2]).all()
    assert (one < [5, 4]).all()
    np.testing.assert_allclose(size(1, 3) - one, [6, 0])
    np.testing.assert_allclose(size(3, 1) - one, [0, 4])
    np.testing.assert_array_equal(new_figure(LIGHT, (3.0, 2.0)).get_size_inches(), one)


def test_lines_are_named_in_one_row():
    figure = Figure()
    lines = [Line2D([], []), Line2D([], [])]
    name_lines(figure, lines, ("a", "b"), LIGHT)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert legend._ncols == 2


def test_ticks_follow_the_scale():
    ax = Figure().subplots()
    ax.set_yscale("log")
    few_ticks(ax)
    few_ticks(ax, "y")
    assert isinstance(ax.xaxis.get_major_locator(), MaxNLocator)
    assert isinstance(ax.yaxis.get_major_locator(), LogLocator)
