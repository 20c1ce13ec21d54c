"""Draws what initialisers do to the variances of deep plain nets."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator

from optix_tricks.initializers import InitializerComparison
from optix_tricks.reports._style import DARK, LIGHT, Theme, dress

_LOWEST, _HIGHEST = 1e-10, 1e6  # a gradient of 1e-10 is lost beside one of 1


def plot_initializers(comparison: InitializerComparison, *, dark: bool = False) -> Figure:
    """Draw the variances of `compare_initializers` over depth, on a logarithmic axis.

    A column for each nonlinearity: above the variance of the activations, which runs
    from the left to the right, below that of the gradients, which runs from the right
    to the left. The axis ends at 1e-10 and 1e6: a line that leaves it has vanished or
    exploded.

    Args:
        comparison: Of up to four initialisers.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by
        `figure.savefig("initializers.png")`.

    Raises:
        ValueError: if there are more than four initialisers.

    Examples:
        >>> variances = np.full((1, 2, 30), 0.5)
        >>> names = ("ReLU",), ("He normal", "orthogonal")
        >>> comparison = InitializerComparison(*names, variances, variances)
        >>> figure = plot_initializers(comparison)
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['ReLU', '']
    """
    theme = DARK if dark else LIGHT
    colors = (theme.green, theme.blue, theme.orange, theme.pink)
    names = comparison.initializers
    if len(names) > len(colors):
        raise ValueError(
            f"comparison must have at most {len(colors)} initialisers, got {len(names)}."
        )
    columns = len(comparison.nonlinearities)
    figure = Figure(
        figsize=(1.2 + 2.3 * columns, 5.4),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
        facecolor=theme.ground,
    )
    grid = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False)
    for ax, name in zip(grid[0], comparison.nonlinearities, strict=True):
        ax.set_title(name)
    for row, kind in zip(grid, ("activation", "gradient"), strict=True):
        row[0].set_ylabel(f"variance of the {kind}s")
        for ax, lines in zip(row, getattr(comparison, kind), strict=True):
            _draw(ax, dict(zip(names, np.asarray(lines), strict=True)), colors, theme)
            dress(ax, "layer" if kind == "gradient" else "", theme)
            ax.yaxis.set_major_locator(LogLocator(numticks=5))
    figure.legend(
        handles=[line for line in grid[0, 0].lines if line.get_gid()],
        labels=list(names),
        loc="outside upper left",
        ncols=len(names),
        frameon=False,
        fontsize=10,
        labelcolor=theme.ink,
        handlelength=1.8,
    )
    return figure


def _draw(
    ax: Axes, lines: dict[str, np.ndarray], colors: Sequence[str], theme: Theme
) -> None:
    ax.set_yscale("log", nonpositive="mask")
    ax.set_ylim(_LOWEST, _HIGHEST)
    ax.axhline(1, color=theme.muted, linewidth=0.8)
    styles = ("-", "-", "-", (0, (3, 3)))  # the last over what it may coincide with
    for (name, values), color, style in zip(lines.items(), colors, styles, strict=False):
        layers = np.arange(1, len(values) + 1)
        (line,) = ax.plot(layers, values, color=color, gid=name, linestyle=style)
        line.set_linewidth(1.8)
