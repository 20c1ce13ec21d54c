"""Draws test accuracy against the learning rate for several networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from optix_tricks.reports._looks import DOTS, LINE, RING, new_figure
from optix_tricks.reports._style import DARK, LIGHT, dress

_PANEL = (6.0, 3.8)
_POINTS = 101  # of a smooth line
_ROOM = 0.1  # decades beside the outermost rates
WIDTH = 0.3  # of the smoothing, in decades of the rate


def plot_rate_sweep(
    rates: Sequence[float],
    accuracies: Mapping[str, Any],
    *,
    smooth: bool = False,
    dark: bool = False,
) -> Figure:
    """Draw a line for each network: mean test accuracy over the seeds, by rate.

    Dots are single trainings. Smoothed, the line is a local mean with normal weights of
    0.3 decades of the rate; otherwise it joins the means, with a standard error to each
    side. A ring marks each line's best rate: rings above one another are an optimum
    that networks share.

    Args:
        rates: of the trainings, positive, in rising order.
        accuracies: by network, [rates, seeds] in [0, 1]; NaN where a training diverged,
            which is left out.
        smooth: whether to smooth the lines.
        dark: whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by
        `figure.savefig("rates.png")`.

    Raises:
        ValueError: if there are more than four networks, or a shape does not match.

    Examples:
        >>> accuracies = {"narrow": [[0.5, 0.6], [0.8, 0.7], [0.6, 0.6]]}
        >>> figure = plot_rate_sweep([0.1, 0.2, 0.4], accuracies)
        >>> figure.axes[0].get_ylabel()
        'test accuracy, %'

    Source: "How to Train Your ResNet 6: Weight Decay", Page, 2019, its last two plots.
    """
    theme = DARK if dark else LIGHT
    colors = (theme.blue, theme.orange, theme.green, theme.pink)
    if len(accuracies) > len(colors):
        raise ValueError(
            f"accuracies must be of at most {len(colors)} networks, got "
            f"{len(accuracies)}."
        )
    figure = new_figure(theme, _PANEL)
    ax = figure.subplots()
    ax.set_xscale("log")
    ax.set_ylabel("test accuracy, %")
    log_rates = np.log10(rates)
    for (name, values), color in zip(accuracies.items(), colors, strict=False):
        table = 100 * np.asarray(values, float)
        if table.ndim != 2 or len(table) != len(log_rates):
            raise ValueError(
                f"accuracies must be [{len(log_rates)} rates, seeds], got "
                f"{list(table.shape)} for {name!r}."
            )
        at = np.broadcast_to(log_rates[:, None], table.shape)
        kept = np.isfinite(table)
        ax.plot(10 ** at[kept], table[kept], ".", color=color, **DOTS)
        if smooth:
            x = np.linspace(log_rates[0], log_rates[-1], _POINTS)
            y = _smoothed(at[kept], table[kept], x)
        else:
            reached = kept.any(axis=1)
            x, table, kept = log_rates[reached], table[reached], kept[reached]
            y = np.nanmean(table, axis=1)
            ax.errorbar(10**x, y, _errors(table), fmt="none", ecolor=color)
        ax.plot(10**x, y, color=color, label=name, **LINE)
        best = int(np.argmax(y))
        ax.plot(10 ** x[best], y[best], "o", color=color, **RING)
    dress(ax, "learning rate at the peak", theme)
    ax.set_xlim(10 ** (log_rates[0] - _ROOM), 10 ** (log_rates[-1] + _ROOM))
    ax.set_xticks(rates, [f"{rate:.3g}" for rate in rates])
    ax.minorticks_off()
    return figure


def _smoothed(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    weights = np.exp(-(((at[:, None] - x) / WIDTH) ** 2) / 2)
    return weights @ y / weights.sum(axis=1)


def _errors(table: np.ndarray) -> np.ndarray:
    """Standard errors over the seeds that are left, 0 for a single one."""
    counts = np.isfinite(table).sum(axis=1)
    spread = np.nanstd(table, axis=1) * np.sqrt(counts / np.maximum(counts - 1, 1))
    return spread / np.sqrt(counts)
