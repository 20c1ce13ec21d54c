"""Draws what initialisers do to the variances of deep plain nets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optix_tricks.initializers import InitializerComparison
from optix_tricks.reports._looks import LINE, RULE, few_ticks, name_lines, new_figure
from optix_tricks.reports._style import DARK, LIGHT, Theme, dress

_PANEL = (2.3, 2.4)
_STYLES: tuple[Any, ...] = ("-", "-", "-", (0, (3, 3)))  # dashes over what they may hide
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
    figure = new_figure(theme, _PANEL, rows=2, columns=columns)
    grid = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False)
    for ax, name in zip(grid[0], comparison.nonlinearities, strict=True):
        ax.set_title(name)
    for row, kind in zip(grid, ("activation", "gradient"), strict=True):
        row[0].set_ylabel(f"variance of the {kind}s")
        for ax, lines in zip(row, getattr(comparison, kind), strict=True):
            _draw(ax, dict(zip(names, np.asarray(lines), strict=True)), colors, theme)
            dress(ax, "layer" if kind == "gradient" else "", theme)
            few_ticks(ax, "y")
    drawn = [line for line in grid[0, 0].lines if line.get_gid()]
    name_lines(figure, drawn, names, theme)
    return figure


def _draw(
    ax: Axes, lines: dict[str, np.ndarray], colors: Sequence[str], theme: Theme
) -> None:
    ax.set_yscale("log", nonpositive="mask")
    ax.set_ylim(_LOWEST, _HIGHEST)
    ax.axhline(1, color=theme.muted, **RULE)
    for (name, values), color, style in zip(lines.items(), colors, _STYLES, strict=False):
        layers = np.arange(1, len(values) + 1)
        ax.plot(layers, values, color=color, gid=name, linestyle=style, **LINE)
