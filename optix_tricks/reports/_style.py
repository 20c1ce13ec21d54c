"""How a panel looks: colours for a light and a dark page, fonts, ticks, legend."""

from typing import NamedTuple

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


def dress(ax: Axes, step_label: str, theme: Theme) -> None:
    """Colours, fonts, ticks and the legend beside the title, above the curves."""
    ax.set_title(
        ax.get_title(),
        loc="left",
        fontsize=12,
        fontweight="bold",
        color=theme.ink,
        parse_math=False,
    )
    ax.set_title("")
    ax.set_facecolor(theme.ground)
    ax.set_xlabel(step_label, color=theme.muted, fontsize=10)
    ax.yaxis.label.set(color=theme.muted, fontsize=10)
    low, high = ax.get_xlim()
    if ax.get_xscale() == "linear":  # steps
        if high - low < 2:
            ax.set_xlim((low + high) / 2 - 1, (low + high) / 2 + 1)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.tick_params(which="both", colors=theme.muted, labelsize=9, length=0)
    ax.grid(color=theme.grid, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(theme.grid)
    if not (ax.lines or ax.patches):
        ax.set(xticks=[], yticks=[])
        ax.text(
            *(0.5, 0.5, "no rows yet"),
            transform=ax.transAxes,
            ha="center",
            va="center",
            color=theme.muted,
        )
    elif len(ax.get_legend_handles_labels()[1]) > 1:
        ax.legend(
            loc="lower right",
            bbox_to_anchor=(1, 0.99),
            ncols=4,
            frameon=False,
            fontsize=9,
            labelcolor=theme.ink,
            handlelength=1.0,
            handletextpad=0.4,
            columnspacing=0.8,
            borderaxespad=0.2,
        )
