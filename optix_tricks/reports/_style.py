"""How a panel looks: colours for a light and a dark page, fonts, ticks, legend."""

from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter


class Theme(NamedTuple):
    """Colours; the series are Okabe and Ito's (2008), safe for the colour-blind."""

    ground: str
    ink: str
    muted: str
    grid: str
    blue: str
    orange: str
    green: str
    pink: str


LIGHT = Theme(
    *("#ffffff", "#1f2328", "#59636e", "#e4e7eb"),
    *("#0072b2", "#d55e00", "#009e73", "#b8578c"),
)
DARK = Theme(
    *("#161b22", "#e6edf3", "#9198a1", "#2d343d"),
    *("#56b4e9", "#f0923b", "#2fc79b", "#e59fc6"),
)

_LEAST = 2  # steps that an axis spans
_STEPS = 6  # numbers on it
_MIDDLE = (0.5, 0.5)  # of a panel
_TITLE: dict[str, Any] = {"loc": "left", "fontsize": 12, "fontweight": "bold"}
_LABEL: dict[str, Any] = {"fontsize": 10}
_TICKS: dict[str, Any] = {"which": "both", "labelsize": 9, "length": 0}
_GRID: dict[str, Any] = {"linewidth": 0.8}
_LEGEND: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1, 0.99),
    "ncols": 4,
    "frameon": False,
    "fontsize": 9,
    "handlelength": 1.0,
    "handletextpad": 0.4,
    "columnspacing": 0.8,
    "borderaxespad": 0.2,
}


def dress(ax: Axes, step_label: str, theme: Theme) -> None:
    """Colours, fonts, ticks and the legend beside the title, above the curves."""
    ax.set_title(
        ax.get_title(),
        color=theme.ink,
        parse_math=False,
        **_TITLE,
    )
    ax.set_title("")
    ax.set_facecolor(theme.ground)
    ax.set_xlabel(step_label, color=theme.muted, **_LABEL)
    ax.yaxis.label.set(color=theme.muted, **_LABEL)
    low, high = ax.get_xlim()
    if ax.get_xscale() == "linear":  # steps
        if high - low < _LEAST:
            middle = (low + high) / 2
            ax.set_xlim(middle - _LEAST / 2, middle + _LEAST / 2)
        ax.xaxis.set_major_locator(MaxNLocator(_STEPS, integer=True))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.tick_params(colors=theme.muted, **_TICKS)
    ax.grid(color=theme.grid, **_GRID)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(theme.grid)
    if not (ax.lines or ax.patches):
        ax.set(xticks=[], yticks=[])
        ax.text(
            *(*_MIDDLE, "no rows yet"),
            transform=ax.transAxes,
            ha="center",
            va="center",
            color=theme.muted,
        )
    elif len(ax.get_legend_handles_labels()[1]) > 1:
        ax.legend(labelcolor=theme.ink, **_LEGEND)
