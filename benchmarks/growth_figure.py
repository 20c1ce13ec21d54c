"""Draw the curves of `growth` with their power laws.

python -m benchmarks.growth_figure [benchmarks/results/growth_cpu.json]
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.timing import RESULTS
from optix_tricks.reports._style import LIGHT, dress

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "growth.png"

PANELS = {  # title, what is counted
    "step": ("one Adam step", "parameters, in 50 arrays"),
    "leaves": ("compiling an optimiser step", "arrays"),
    "depth": ("compiling a training step", "blocks a stage"),
    "epoch": ("one epoch", "images"),
    "curvature": ("curvature", "parameters"),
}
HOW_TO_READ = """points: medians, with quartiles
dashed: a power law, seconds ~ size$^p$,
    over the sizes that it was fitted to
p: its exponent, with the standard error"""
COLORS = (LIGHT.blue, LIGHT.orange, LIGHT.green)
MARKERS = ("o", "s")


def plot_growth(rows: list[dict[str, Any]]) -> Figure:
    """A panel a part, log against log: medians, quartiles, fitted power laws.

    Args:
      rows: of `growth`, some or all of its parts.

    Returns:
      The figure. A law is drawn, dashed, over the sizes that it was fitted to.
    """
    parts = [part for part in PANELS if any(row["part"] == part for row in rows)]
    columns = min(len(parts), 3)
    lines = -(-len(parts) // columns)
    figure = Figure(
        figsize=(4.4 * columns, 3.9 * lines),
        layout="constrained",
        facecolor=LIGHT.ground,
    )
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for ax, part in zip(axes, parts, strict=False):
        _panel(ax, part, [row for row in rows if row["part"] == part])
    for ax in axes[len(parts) :]:
        ax.set_axis_off()
    if len(axes) > len(parts):
        axes[-1].text(*(0, 0.5, HOW_TO_READ), va="center", fontsize=10, color=LIGHT.muted)
    return figure


def _panel(ax: Axes, part: str, rows: list[dict[str, Any]]) -> None:
    title, counted = PANELS[part]
    ax.set_title(title)
    ax.set_ylabel("seconds")
    ax.set_xscale("log")
    ax.set_yscale("log")
    for i, row in enumerate(rows):
        x, y = np.array(row["sizes"]), np.array(row["seconds"])
        ends = np.array([y - row["seconds_low"], row["seconds_high"] - y])
        color = COLORS[i % len(COLORS)]
        ax.errorbar(
            *(x, y, np.maximum(ends, 0)),
            fmt=MARKERS[i // len(COLORS)],
            color=color,
            markersize=4,
            markerfacecolor=LIGHT.ground if i >= len(COLORS) else color,
            elinewidth=1,
            label=f"{row['curve']}: p = {row['exponent']:.2f} ± {row['error']:.2f}",
        )
        ends = np.array([row["first"], row["last"]])
        law = row["factor"] * ends ** row["exponent"]
        ax.plot(ends, law, "--", color=color, linewidth=1.2)
    dress(ax, counted, LIGHT)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(numticks=12))
        axis.set_minor_formatter(NullFormatter())
    if part == "depth":
        ax.set_xticks(rows[0]["sizes"], [str(size) for size in rows[0]["sizes"]])
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** (0.075 * len(rows)))  # room for the legend
    ax.legend(
        loc="upper left",
        frameon=False,
        fontsize=8,
        labelcolor=LIGHT.ink,
        handletextpad=0.3,
        borderaxespad=0.1,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = RESULTS / "growth_cpu.json"
    parser.add_argument("result", type=Path, nargs="?", default=default)
    rows = json.loads(parser.parse_args().result.read_text())["rows"]
    plot_growth(rows).savefig(IMAGE, dpi=110)
    print(f"wrote {IMAGE}")


if __name__ == "__main__":
    main()
