"""What figures have in common: their sizes, widths of lines, marks, texts and legends."""

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator

from optix_tricks.reports._style import Theme

Look = dict[str, Any]
Panel = tuple[float, float]  # inches

LINE: Look = {"linewidth": 1.8}
FAINT: Look = {"linewidth": 0.6, "alpha": 0.35}  # every row behind its mean
NOISE: Look = {"linewidth": 0.5, "alpha": 0.12}
THIN: Look = {"linewidth": 1.0}
RULE: Look = {"linewidth": 0.8}
DASHES: Look = RULE | {"linestyle": (0, (3, 3))}
BAND: Look = {"linewidth": 0, "alpha": 0.2}
BROAD: Look = {"linewidth": 5, "alpha": 0.35}
MARKS: Look = {"markersize": 4}
DOTTED: Look = {"marker": "o", "markersize": 3}
DOTS: Look = {"alpha": 0.3, "markersize": 4}
RING: Look = {"fillstyle": "none", "markersize": 10}
TICK: Look = {"linestyle": "none", "marker": "|", "markersize": 7}
SMALL: Look = {"fontsize": 9}
TEXT: Look = {"fontsize": 10}
LARGE: Look = {"fontsize": 11, "fontweight": "bold"}
ABOVE = (6, 4)  # points from a mark to its text
BELOW = (0, -14)
CORNER = (0.97, 0.95)  # shares of a panel
OVER = (1, 1.02)

_MARGIN: Panel = (1.2, 0.6)
_PADS: Look = {"w_pad": 0.1, "h_pad": 0.1}
_LEGEND: Look = TEXT | {
    "loc": "outside upper left",
    "frameon": False,
    "handlelength": 1.8,
}
_TICKS = 7


def new_figure(theme: Theme, panel: Panel, *, rows: int = 1, columns: int = 1) -> Figure:
    """A figure with room for panels of a size, that no global state knows of."""
    (wide, high), (beside, below) = panel, _MARGIN
    return Figure(
        figsize=(beside + columns * wide, below + rows * high),
        layout=ConstrainedLayoutEngine(**_PADS),
        facecolor=theme.ground,
    )


def name_lines(
    figure: Figure, lines: Sequence[Artist], names: Sequence[str], theme: Theme
) -> None:
    """A legend above all panels, in one row."""
    figure.legend(
        handles=lines,
        labels=list(names),
        ncols=len(names),
        labelcolor=theme.ink,
        **_LEGEND,
    )


def few_ticks(ax: Axes, axis: str = "x") -> None:
    """As many numbers on an axis as can be read."""
    chosen = getattr(ax, f"{axis}axis")
    is_log = chosen.get_scale() == "log"
    chosen.set_major_locator(
        LogLocator(numticks=_TICKS) if is_log else MaxNLocator(_TICKS)
    )
