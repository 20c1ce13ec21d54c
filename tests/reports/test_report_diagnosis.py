"""The figures of a diagnosis show the history and the verdict."""

import io

import numpy as np
import pytest
from PIL import Image

from optix_tricks.dynamics import History, diagnose
from optix_tricks.reports import plot_confusion, plot_diagnosis

STEP = np.arange(1.0, 201)


def history(**columns):
    return History(np.exp(-STEP / 50), step=STEP, gradient_norm=np.ones(200), **columns)


def text_of(figure):
    return figure.get_suptitle()


@pytest.mark.parametrize("dark", [False, True])
def test_the_verdict_and_every_sentence_stand_above_the_curves(dark):
    given = history(gradient_cosine=np.zeros(200))
    diagnosis = diagnose(given)
    figure = plot_diagnosis(given, diagnosis, dark=dark)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["Loss", "Norms", "Cosine of successive gradients"]
    shown = " ".join(text_of(figure).split())
    assert shown.startswith("healthy (score 1.00)")
    for sentence in diagnosis.evidence:
        assert sentence in shown


def test_curves_are_the_columns_and_medians_lie_in_the_second_half():
    given = history(update_norm=np.full(200, 0.5))
    loss, norms = plot_diagnosis(given, diagnose(given)).axes
    lines = {line.get_gid(): line for line in loss.lines + norms.lines}
    np.testing.assert_array_equal(lines["gradient_norm"].get_ydata(), given.gradient_norm)
    np.testing.assert_array_equal(lines["update_norm"].get_ydata(), given.update_norm)
    medians = lines["medians"]
    assert len(medians.get_xdata()) == 12
    assert medians.get_xdata()[0] > 100
    wanted = np.exp(-np.asarray(medians.get_xdata()) / 50)
    np.testing.assert_allclose(medians.get_ydata(), wanted, rtol=0.01)


def test_layers_go_by_depth_and_nan_is_a_gap():
    layers = {"a": np.full(200, 1e-3), "b": np.full(200, np.nan), "c": np.ones(200)}
    given = history(layer_gradient_norm=layers)
    figure = plot_diagnosis(given, diagnose(given))
    (line,) = figure.axes[2].lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(line.get_ydata(), [1e-3, np.nan, 1])
    figure.savefig(io.BytesIO(), dpi=40)


def test_silent_units_are_bars_of_late_medians_if_there_are_any():
    late = np.where(STEP % 50 == 0, 0.75, np.nan)  # measured now and then
    shares = {"a": late, "b": np.zeros(200), "c": np.full(200, np.nan)}
    given = history(dead_fraction=shares)
    figure = plot_diagnosis(given, diagnose(given))
    assert figure.axes[-1].get_title(loc="left") == "Silent units (%)"
    heights = [bar.get_height() for bar in figure.axes[-1].patches]
    np.testing.assert_array_equal(heights, [75, 0, np.nan])
    assert not figure.axes[-1].texts  # no "no rows yet"
    none = history(dead_fraction={"a": np.zeros(200)})
    titles = [
        ax.get_title(loc="left") for ax in plot_diagnosis(none, diagnose(none)).axes
    ]
    assert titles == ["Loss", "Norms"]


@pytest.mark.parametrize("rows", [1, 5])
def test_the_shortest_and_emptiest_histories_are_drawn(rows):
    given = History(np.full(rows, np.nan))
    file = io.BytesIO()
    plot_diagnosis(given, diagnose(given)).savefig(file, dpi=40)
    with Image.open(file) as image:
        assert image.format == "PNG"


def test_a_confusion_matrix_shows_shares_of_its_rows():
    counts = np.array([[3, 1, 0], [0, 0, 5], [0, 0, 0]])
    figure = plot_confusion(counts, ("a", "b", "c"), ("a", "b", "d"))
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["75", "25", "100"]
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "a (4)",
        "b (5)",
        "c (0)",
    ]
    alphas = [patch.get_alpha() for patch in ax.patches]
    np.testing.assert_allclose(alphas, [0.75, 0.25, 0, 0, 0, 1, 0, 0, 0])
    right, wrong = ax.patches[0].get_facecolor()[:3], ax.patches[1].get_facecolor()[:3]
    assert right != wrong


def test_the_second_half_is_shaded_and_rows_count_from_one():
    loss = np.exp(-np.arange(50.0) / 50)
    given = History(loss)
    (ax,) = plot_diagnosis(given, diagnose(given)).axes
    assert ax.lines[0].get_xdata().tolist() == list(range(1, 51))
    (strip,) = ax.patches
    assert (strip.get_x(), strip.get_x() + strip.get_width()) == (26, 50)
    medians = next(line for line in ax.lines if line.get_gid() == "medians")
    blocks = np.array_split(np.arange(25, 50), 12)
    np.testing.assert_allclose(medians.get_xdata(), [b.mean() + 1 for b in blocks])
    np.testing.assert_allclose(medians.get_ydata(), [np.median(loss[b]) for b in blocks])


@pytest.mark.parametrize(
    ("last", "scale"), [(0.21, "linear"), (0.19, "log"), (-1.0, "linear")]
)
def test_a_loss_that_spans_a_factor_of_five_is_drawn_in_decades(last, scale):
    given = History(np.linspace(1, last, 60))
    assert plot_diagnosis(given, diagnose(given)).axes[0].get_yscale() == scale


def test_gradients_of_layers_have_room_and_cosines_their_whole_range():
    layers = {"a": np.full(200, 1e-3), "b": np.full(200, 10.0)}
    given = history(layer_gradient_norm=layers)
    low, high = plot_diagnosis(given, diagnose(given)).axes[2].get_ylim()
    assert low < 1e-3 / 3 < 30 < high
    given = history(gradient_cosine=np.zeros(200))
    cosines = plot_diagnosis(given, diagnose(given)).axes[2]
    low, high = cosines.get_ylim()
    assert -1.2 < low < -1 < 1 < high < 1.2
    rule = cosines.lines[1]
    assert set(rule.get_ydata()) == {0}
    shares = {"a": np.full(200, 0.1)}
    given = history(dead_fraction=shares)
    silent = plot_diagnosis(given, diagnose(given)).axes[-1]
    assert silent.get_ylim() == (0, 100)
    assert silent.patches[0].get_x() + silent.patches[0].get_width() / 2 == 1


def test_the_second_half_of_layers_is_what_is_drawn():
    late = {"a": np.where(STEP > 100, 2.0, 1.0)}
    given = history(layer_gradient_norm=late)
    assert plot_diagnosis(given, diagnose(given)).axes[2].lines[0].get_ydata() == [2]
    odd = {"a": np.array([1.0, 5.0, 3.0])}
    given = History(np.ones(3), layer_gradient_norm=odd)
    assert plot_diagnosis(given, diagnose(given)).axes[1].lines[0].get_ydata() == [4]


def test_cells_of_a_table_lie_round_their_numbers():
    counts = np.array([[1, 1], [2, 3], [0, 4]])
    ax = plot_confusion(counts, ("a", "b", "c"), ("a", "b")).axes[0]
    corners = [patch.get_xy() for patch in ax.patches]
    assert corners == [(x - 0.5, y - 0.5) for y in range(3) for x in range(2)]
    assert {patch.get_width() for patch in ax.patches} == {1}
    assert {patch.get_height() for patch in ax.patches} == {1}
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 1.5), (2.5, -0.5))
    places = [(*text.get_position(), text.get_text()) for text in ax.texts]
    assert places == [
        *((0, 0, "50"), (1, 0, "50"), (0, 1, "40"), (1, 1, "60"), (1, 2, "100")),
    ]
    inks = [text.get_color() for text in ax.texts]  # on what is nearly full another
    assert len({*inks[:4]}) == 1
    assert inks[4] != inks[0]
