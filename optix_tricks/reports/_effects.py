"""Draws what each trick buys: its effect and the interval, the largest on top."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from optix_tricks.reports._looks import new_figure
from optix_tricks.reports._style import DARK, LIGHT, dress

_WIDTH, _HEAD, _ROW = 9.5, 1.1, 0.27  # inches
_OF = {  # of each measure: what it is called, its unit, which sign is good
    "accuracy": ("change in test accuracy, points", 100.0, 1),
    "loss": ("change in test loss", 1.0, -1),
}


def plot_effects(
    rows: Sequence[Mapping[str, Any]],
    *,
    measures: Sequence[str] = ("accuracy", "loss"),
    dark: bool = False,
) -> Figure:
    """Draw a row for each trick: the mean change and its 95 % interval.

    Blue is better by the interval, orange worse, grey neither; a hollow dot has no
    interval yet. Rows are sorted by the first measure.

    Args:
      rows: of a ledger's `ledger.json`: `name`, and `accuracy` and `loss`, each None or
        with `mean_at_look` and `half_width`.
      measures: a panel each.
      dark: whether to draw for a dark page.

    Returns:
      A figure that no global state knows of.

    Raises:
      ValueError: if there is no row with a number, or no such measure.

    Examples:
      >>> effect = {"mean_at_look": 0.012, "half_width": 0.004, "looked": 5}
      >>> figure = plot_effects([{"name": "+flip", "accuracy": effect, "loss": None}])
      >>> figure.axes[0].get_xlabel()
      'change in test accuracy, points'
    """
    theme = DARK if dark else LIGHT
    if len(measures) == 0 or not {*measures} <= {*_OF}:
        got = ", ".join(map(str, measures)) or "none"
        raise ValueError(f"measures must be some of {' and '.join(_OF)}, got {got}.")
    first = measures[0]
    rows = sorted(
        (row for row in rows if any(row[name] for name in measures)),
        key=lambda row: _OF[first][2] * row[first]["mean_at_look"] if row[first] else 0,
    )
    if not rows:
        raise ValueError("rows must hold at least one with an effect, got none.")
    figure = new_figure(theme, (_WIDTH, _HEAD + _ROW * len(rows)))
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for ax, measure in zip(panels, measures, strict=True):
        label, unit, good = _OF[measure]
        ax.axvline(0, color=theme.muted, linewidth=1)
        for i, row in enumerate(rows):
            if not row[measure]:
                continue
            mean, half = (
                None if row[measure][k] is None else unit * row[measure][k]
                for k in ("mean_at_look", "half_width")
            )
            if half is None or not row[measure]["looked"]:
                ax.plot(mean, i, "o", color=theme.muted, mfc="none", markersize=5)
                continue
            sign = good * ((mean - half > 0) - (mean + half < 0))
            color = {1: theme.blue, -1: theme.orange, 0: theme.muted}[sign]
            ax.errorbar(mean, i, xerr=half, fmt="o", color=color, markersize=5)
        limits = ax.get_xlim()
        dress(ax, label, theme)
        ax.set_xlim(limits)
        ax.xaxis.set_major_locator(MaxNLocator(6))
        ax.xaxis.set_major_formatter("{x:+.3g}")
        ax.grid(visible=False, axis="y")
    names = [_name(row) for row in rows]
    panels[0].set_yticks(range(len(rows)), names, color=theme.ink)
    panels[0].set_ylim(-0.7, len(rows) - 0.3)
    return figure


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['name'][1:]} (taken away)" if row["name"][0] == "-" else row["name"][1:]
