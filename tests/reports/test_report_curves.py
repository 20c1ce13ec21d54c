"""What the curves of a run look like: how many panels, which scale, how smooth."""

from pathlib import Path

import numpy as np
import pytest

from optix_tricks.reports import _curves as curves
from optix_tricks.reports import plot_curves
from optix_tricks.reports._curves import _centred_mean, smoothing_window
from optix_tricks.reports._looks import new_figure
from optix_tricks.reports._read import Run
from optix_tricks.reports._style import LIGHT


def run(*columns, test=(), **named):
    """A run of rows, one a step from 1 on."""
    named |= {str(i): column for i, column in enumerate(columns)}
    train = {name: np.array(x, float) for name, x in named.items()}
    train["step"] = np.arange(len(named["loss"])) + 1
    steps, accuracies = zip(*test, strict=True) if test else ((), ())
    tests = {"step": np.array(steps, int), "accuracy": np.array(accuracies, float)}
    none = {"step": np.zeros(0, int)}
    return Run(Path("run"), "a", {}, {}, train, none, tests, None)


def test_further_columns_that_change_get_panels_two_a_row():
    for extras, grid in [(0, 2), (1, 3), (2, 3), (3, 4), (5, 4)]:
        changing = [[0.0, i + 1.0] for i in range(extras)]
        given = run(*changing, loss=[1.0, 2.0], constant=[3.0, 3.0])
        axes = plot_curves(given).axes
        assert len(axes) == 4 + min(extras, 4)
        assert axes[0].get_subplotspec().get_gridspec().get_geometry() == (grid, 2)
        room = new_figure(LIGHT, curves._PANEL, rows=grid, columns=2).get_size_inches()
        np.testing.assert_array_equal(axes[0].figure.get_size_inches(), room)


@pytest.mark.parametrize(
    ("last", "scale"),
    [(1 / 29, "linear"), (1 / 31, "log"), (0.0, "linear"), (-1.0, "linear")],
)
def test_a_loss_that_spans_a_factor_of_thirty_is_drawn_in_decades(last, scale):
    axes = plot_curves(run(loss=[1.0, last])).axes
    assert axes[0].get_yscale() == scale


@pytest.mark.parametrize(("last", "places"), [(0.9, (-1, 1)), (0.1, (1, 0))])
def test_the_last_test_is_told_where_there_is_room(last, places):
    tests = [(1, 0.0), (2, 1.0), (3, last), (4, float("nan"))]
    given = run(loss=[1.0] * 4, test=tests)
    (note,) = plot_curves(given).axes[1].texts
    assert note.get_text() == f"test {100 * last:.2f} %"
    assert note.xy == (3, pytest.approx(100 * last))
    side, end = places
    assert np.sign(note.xyann[1]) == side
    assert note.arrow_patch.get_mutation_scale() is not None
    assert note.arrowprops["relpos"] == (1, end)


def test_norms_begin_at_a_thousandth_of_the_usual_step():
    update = np.full(9, 0.5)
    update[-1] = 1e-12
    given = run(
        loss=[1.0] * 9,
        update_norm=update.tolist(),
        parameter_norm=[5.0] * 9,
    )
    norms = plot_curves(given).axes[3]
    assert norms.get_ylim()[0] == pytest.approx(1e-3 * 0.1)
    given = run(loss=[1.0] * 2, parameter_norm=[0.0, 5.0])
    lines = {x.get_gid(): x.get_ydata() for x in plot_curves(given).axes[3].lines}
    assert np.isnan(lines["parameter"][0])  # zero is no number of decades


def test_few_rows_are_dots_on_a_line_and_many_a_mean():
    for rows, lines in ((79, 1), (80, 2)):
        given = run(loss=np.linspace(1, 2, rows).tolist())
        assert len(plot_curves(given).axes[0].lines) == lines


@pytest.mark.parametrize("rows", [79, 80, 160, 500])
def test_the_mean_is_over_a_window_that_shrinks_at_the_start(rows):
    values = np.random.default_rng(0).normal(size=rows)
    values[[3, rows // 2]] = np.nan
    half = {79: 0, 80: 1, 160: 2, 500: 6}[rows]
    assert smoothing_window(rows) == 2 * half + 1
    found = _centred_mean(values)
    for i in range(rows):
        reach = min(half, i)
        if np.isnan(values[i]):
            assert np.isnan(found[i])
            continue
        assert found[i] == pytest.approx(np.nanmean(values[i - reach : i + reach + 1]))


def test_steps_of_an_epoch_are_read_from_the_rows():
    for epochs, label in [
        ([1.0, 1.2, 1.4, 1.6], "step (5 per epoch)"),
        ([None, 2.0, None, 3.0], "step (2 per epoch)"),
        ([None, None, 3.0, 4.0], "step (1 per epoch)"),
        ([1.0, None, None, None], "step"),
        ([1.0, 1.0, 1.0, 1.0], "step"),
    ]:
        given = run(loss=[1.0] * 4, epoch=epochs)
        assert plot_curves(given).axes[0].get_xlabel() == label
