"""Draws the curve of a learning-rate range test and the rates it suggests."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from optix_tricks.dynamics import RangeTest, RateSuggestions
from optix_tricks.reports._style import DARK, LIGHT, dress

LABELS = {"steepest": "steepest", "minimum_tenth": "minimum / 10", "valley": "valley"}


def plot_range_test(
    test: RangeTest, suggestions: RateSuggestions, *, title: str = "", dark: bool = False
) -> Figure:
    """Draw the loss against the logarithm of the rate, with the suggestions marked.

    The line is the mean of the smoothed losses over the seeds that are left, the band
    one standard error to each side; dots are the losses of single steps. A vertical
    line is a suggestion, the strip around it one standard error. The axis of the loss
    ends where the mean has risen above its start by half of its fall: what diverges
    leaves it.

    Args:
        test: of `learning_rate_range_test`.
        suggestions: of `suggest_learning_rates`; undecided ones are only named.
        title: of the panel.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by
        `figure.savefig("range_test.png")`.

    Examples:
        >>> from optix_tricks.dynamics import suggest_learning_rates
        >>> rates = np.geomspace(1e-4, 10, 51)
        >>> x = np.log10(rates)
        >>> curve = 2 - np.exp(-((x + 1) ** 2)) + np.maximum(x, 0) ** 2
        >>> no_error = np.full(51, np.nan)
        >>> test = RangeTest(rates, curve[None], curve[None], curve, no_error, [51], 0.1)
        >>> figure = plot_range_test(test, suggest_learning_rates(test))
        >>> print([text.get_text() for text in figure.legends[0].get_texts()])
        ['steepest 0.02', 'minimum / 10 0.01', 'valley 0.0025']
    """
    theme = DARK if dark else LIGHT
    colors = (theme.orange, theme.green, theme.pink)
    rates, losses, mean, error = (
        np.asarray(x, float)
        for x in (test.rates, test.losses, test.mean, test.standard_error)
    )
    figure = Figure(figsize=(7.2, 4.2), layout="constrained", facecolor=theme.ground)
    ax = figure.subplots()
    ax.set_title(title)
    ax.set_ylabel("loss")
    for row in losses:
        ax.plot(rates, row, ".", color=theme.blue, alpha=0.25, markersize=3)
    band = np.nan_to_num(error)
    ax.fill_between(
        rates, mean - band, mean + band, color=theme.blue, alpha=0.25, linewidth=0
    )
    ax.plot(rates, mean, color=theme.blue, linewidth=1.8, gid="mean")
    handles = []
    for (rule, suggestion), color in zip(
        suggestions._asdict().items(), colors, strict=True
    ):
        label = f"{LABELS[rule]} {suggestion.rate:.2g}"
        if suggestion.reason:
            label = f"{LABELS[rule]}: undecided"
        handles.append(Line2D([], [], color=color, linewidth=1.5, label=label))
        if not suggestion.reason:
            spread = 10 ** np.nan_to_num(suggestion.standard_error)
            ax.axvline(suggestion.rate, color=color, linewidth=1.5, gid=rule)
            ax.axvspan(
                suggestion.rate / spread,
                suggestion.rate * spread,
                color=color,
                alpha=0.15,
                linewidth=0,
            )
    dress(ax, "learning rate", theme)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=12))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.set_xlim(rates[0], rates[-1])
    if np.isfinite(mean).any():
        ax.set_ylim(*_limits(mean, losses))
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=len(handles),
        frameon=False,
        fontsize=10,
        labelcolor=theme.ink,
        handlelength=1.8,
    )
    return figure


def _limits(mean: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    start = float(mean[np.isfinite(mean)][0])
    lowest = min(float(np.nanmin(mean)), float(np.nanquantile(losses, 0.02)))
    fall = max(start - lowest, 0.05 * max(abs(start), math.ulp(1)))
    return lowest - 0.15 * fall, start + 0.5 * fall
