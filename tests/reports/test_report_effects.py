"""The figures of a ledger and of a sweep show its numbers, and which are which."""

import json

import numpy as np
import pytest

from optix_tricks.reports import plot_effects, plot_sweep, write_ledger, write_sweep
from optix_tricks.reports._style import DARK, LIGHT


def _effect(mean, half_width, looked=5):
    return {"mean_at_look": mean, "half_width": half_width, "looked": looked}


ROWS = [
    {"name": "+worse", "accuracy": _effect(-0.02, 0.01), "loss": _effect(0.1, 0.05)},
    {"name": "-better", "accuracy": _effect(0.03, 0.01), "loss": _effect(-0.1, 0.05)},
    {"name": "+open", "accuracy": _effect(0.01, 0.02), "loss": None},
    {"name": "+early", "accuracy": _effect(0.002, None, 0), "loss": None},
    {"name": "+none", "accuracy": None, "loss": None},
]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_rows_are_sorted_and_coloured_by_their_interval(theme):
    figure = plot_effects(ROWS, dark=theme is DARK)
    accuracy, loss = figure.axes
    names = [text.get_text() for text in accuracy.get_yticklabels()]
    assert names == ["worse", "early", "open", "better (taken away)"]
    bars = {int(c.lines[0].get_ydata()[0]): c for c in accuracy.containers}
    colours = {names[i]: c.lines[0].get_color() for i, c in bars.items()}
    assert colours == {
        "worse": theme.orange,
        "open": theme.muted,
        "better (taken away)": theme.blue,
    }
    (ends,) = bars[3].lines[2][0].get_segments()
    np.testing.assert_allclose(ends[:, 0], [2.0, 4.0])
    assert [c.lines[0].get_color() for c in loss.containers] == [theme.orange, theme.blue]


def test_no_effect_at_all_is_refused():
    with pytest.raises(ValueError, match="rows must hold at least one"):
        plot_effects(ROWS[-1:])


def test_a_sweep_of_one_number_is_a_curve_with_its_best():
    values = [[0.5, 0.7], [0.9, 0.9], [np.nan, 0.95]]
    (ax,) = plot_sweep({"rate": [0.1, 1, 10]}, values, label="test accuracy").axes
    assert ax.get_xscale() == "log"
    *_, line, ring = ax.lines
    np.testing.assert_allclose(line.get_ydata(), [60, 90, np.nan])
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (1, 90)
    loss = plot_sweep({"width": [8, 16]}, [[1.0], [2.0]], label="test loss").axes[0]
    assert loss.lines[-1].get_ydata()[0] == 1.0
    assert loss.get_xscale() == "linear"


def test_a_sweep_of_two_numbers_is_a_map_with_its_best():
    values = [[0.1], [0.2], [np.nan], [0.4], [0.5], [0.3]]
    axes = {"decay": [0.0, 1.0], "rate": [1.0, 2.0, 3.0]}
    ax = plot_sweep(axes, values, label="test accuracy").axes[0]
    texts = {text.get_position(): text for text in ax.texts}
    assert texts[1, 1].get_text() == "50"
    assert texts[2, 0].get_text() == "-"
    assert [xy for xy, text in texts.items() if text.get_bbox_patch()] == [(1, 1)]
    with pytest.raises(ValueError, match="axes must be of one number or two"):
        plot_sweep({"a": [1], "b": [1], "c": [1]}, [[1.0]], label="x")


def test_a_sweep_of_three_numbers_is_written_without_a_figure(tmp_path):
    told = {"title": "t", "chosen_by": "test_loss", "share": [1.0]}
    axes = {"a": [1], "b": [2], "c": [3]}
    path = write_sweep(tmp_path, axes=axes, results={"test_loss": [[np.nan]]}, **told)
    assert json.loads(path.read_text())["test_loss"] == [[None]]
    assert not (tmp_path / "figures").exists()


def test_a_ledger_of_losses_alone_has_its_page(tmp_path):
    row = {
        "trick": "x", "verdict": "undecided", "seeds": 1, "p_corrected": 1.0,
        "diverged": [0, 0], "steps": None, "reached": 0, "tuned": ["rate", 0.2, 0.1],
        "cost": None, "pairs": [[0, 1.5, 1.0, None, None]], "name": "+x",
        "accuracy": None, "loss": _effect(0.5, None, 0) | {"p": 1.0},
    }  # fmt: skip
    summary = {
        "recipe": "r", "dataset": "d", "examples": [2, 1], "setup": [["loss", "x", ""]],
        "epochs": 1, "batch_size": 2, "seeds": 5, "looks": [5], "error": 0.05,
        "resolution": 0.01, "environments": [], "refused": {}, "rows": [row],
    }  # fmt: skip
    (tmp_path / "ledger.json").write_text(json.dumps(summary))
    page = write_ledger(tmp_path).read_text()
    assert "+0.500, no interval" in page
    assert "rate 0.2 with it, 0.1 without it" in page
