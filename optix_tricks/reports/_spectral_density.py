"""Draws the density of a curvature's eigenvalues."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter

from optix_tricks.dynamics import SpectralDensity
from optix_tricks.reports._style import DARK, LIGHT, dress

_DECADES = 10  # at most, below the highest point


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
    figure = Figure(
        figsize=(9, 3.6),
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12),
        facecolor=theme.ground,
    )
    ax = figure.subplots()
    ax.set_title(f"Spectral density, mean of {len(values)} probes")
    ax.set_ylabel("density")
    ax.set_yscale("log", nonpositive="clip")
    top = np.max(density)
    outermost = np.mean(weights, axis=0)[[0, -1]] / (width * np.sqrt(2 * np.pi))
    bottom = max(np.min(outermost) / 10, 10.0**-_DECADES * top)
    ax.set_ylim(bottom, 3 * top)
    ax.axvline(0, color=theme.muted, linewidth=0.8)
    low, high = np.maximum(density - 2 * error, bottom), density + 2 * error
    ax.fill_between(grid, low, high, color=theme.blue, alpha=0.25, linewidth=0)
    ax.plot(grid, density, color=theme.blue, linewidth=1.6, gid="density")
    ends = values[:, [0, -1]].ravel()
    ax.plot(
        ends,
        np.full(ends.size, 0.03),
        transform=ax.get_xaxis_transform(),
        linestyle="none",
        marker="|",
        markersize=7,
        color=theme.orange,
        gid="ends",
    )
    dress(ax, "eigenvalue", theme)
    ax.set_xlim(grid[0], grid[-1])
    ax.xaxis.set_major_locator(MaxNLocator(8))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_major_locator(LogLocator(numticks=6))
    return figure
