"""A panel is dressed: its axis of steps, its legend, and what stands in an empty one."""

import pytest
from matplotlib.figure import Figure

from optix_tricks.reports._style import LIGHT, dress


def dressed(*lines, xlim=None, scale="linear"):
    ax = Figure().subplots()
    ax.set_xscale(scale)
    for i, line in enumerate(lines):
        ax.plot(line, label=f"line {i}")
    if xlim:
        ax.set_xlim(xlim)
    dress(ax, "step", LIGHT)
    return ax


@pytest.mark.parametrize(
    ("given", "shown"),
    [((3.0, 3.5), (2.25, 4.25)), ((3.0, 5.0), (3.0, 5.0)), ((0.0, 9.0), (0.0, 9.0))],
)
def test_an_axis_of_steps_spans_two_at_least(given, shown):
    assert dressed([1, 2], xlim=given).get_xlim() == shown
    on_log = dressed([1, 2], xlim=(1.0, 1.5), scale="log")
    assert on_log.get_xlim() == (1.0, 1.5)


def test_a_legend_names_lines_if_there_are_two():
    assert dressed([1, 2]).get_legend() is None
    names = [text.get_text() for text in dressed([1, 2], [3, 4]).get_legend().texts]
    assert names == ["line 0", "line 1"]
    assert not dressed([1, 2]).texts


def test_an_empty_panel_says_so():
    ax = dressed()
    assert [text.get_text() for text in ax.texts] == ["no rows yet"]
    assert len(ax.get_xticks()) == 0
    bars = Figure().subplots()
    bars.bar([1], [2])
    dress(bars, "layer", LIGHT)
    assert not bars.texts
