"""Draws the density of a curvature's eigenvalues."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from optix_tricks.dynamics import SpectralDensity
from optix_tricks.reports._looks import BAND, LINE, RULE, TICK, few_ticks, new_figure
from optix_tricks.reports._style import DARK, LIGHT, dress

_PANEL = (7.8, 3.0)
_DEEPEST = 1e-10  # of the highest point
_BELOW, _ABOVE = 10, 3  # factors of room
_HEIGHT = 0.03  # of the ticks, a share of the panel


def plot_spectral_density(spectrum: SpectralDensity, *, dark: bool = False) -> Figure:
    """Draw a spectral density on a logarithmic axis, with its error over the probes.

    On that axis single outliers stand beside a bulk of many eigenvalues. The band is two
    standard errors to either side, the vertical line zero: what lies left of it is
    negative curvature. The axis ends below the peaks of the outermost eigenvalues, and
    ticks under the curve mark the outermost Ritz values of all probes.

    Args:
        spectrum: From `spectral_density`.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by
        `figure.savefig("spectrum.png")`.

    Examples:
        >>> grid, ones = np.linspace(-1, 1, 50), np.ones((2, 3))
        >>> density = np.exp(-grid**2)
        >>> spectrum = SpectralDensity(grid, density, density / 9, 0.1, ones, ones / 3)
        >>> figure = plot_spectral_density(spectrum)
        >>> figure.axes[0].get_ylabel()
        'density'
    """
    theme = DARK if dark else LIGHT
    grid, density, error, width, values, weights = map(np.asarray, spectrum)
    figure = new_figure(theme, _PANEL)
    ax = figure.subplots()
    ax.set_title(f"Spectral density, mean of {len(values)} probes")
    ax.set_ylabel("density")
    ax.set_yscale("log", nonpositive="clip")
    top = np.max(density)
    outermost = np.mean(weights, axis=0)[[0, -1]] / (width * np.sqrt(2 * np.pi))
    bottom = max(np.min(outermost) / _BELOW, _DEEPEST * top)
    ax.set_ylim(bottom, _ABOVE * top)
    ax.axvline(0, color=theme.muted, **RULE)
    low, high = np.maximum(density - 2 * error, bottom), density + 2 * error
    ax.fill_between(grid, low, high, color=theme.blue, **BAND)
    ax.plot(grid, density, color=theme.blue, gid="density", **LINE)
    ends = values[:, [0, -1]].ravel()
    ax.plot(
        ends,
        np.full(ends.size, _HEIGHT),
        transform=ax.get_xaxis_transform(),
        color=theme.orange,
        gid="ends",
        **TICK,
    )
    dress(ax, "eigenvalue", theme)
    ax.set_xlim(grid[0], grid[-1])
    few_ticks(ax)
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    few_ticks(ax, "y")
    return figure
