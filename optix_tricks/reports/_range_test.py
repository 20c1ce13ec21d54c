"""Draws the curve of a learning-rate range test and the rates it suggests."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optix_tricks.dynamics import RangeTest, RateSuggestions
from optix_tricks.reports._looks import (
    BAND,
    DOTS,
    LINE,
    few_ticks,
    name_lines,
    new_figure,
)
from optix_tricks.reports._style import DARK, LIGHT, dress

_PANEL = (6.0, 3.6)
_LOW = 0.02  # of all losses, the share that may lie below the axis
_LEAST_FALL = 0.05  # of the loss
_BELOW, _ABOVE = 0.15, 0.5  # shares of the fall
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
    figure = new_figure(theme, _PANEL)
    ax = figure.subplots()
    ax.set_title(title)
    ax.set_ylabel("loss")
    for row in losses:
        ax.plot(rates, row, ".", color=theme.blue, **DOTS)
    band = np.nan_to_num(error)
    ax.fill_between(rates, mean - band, mean + band, color=theme.blue, **BAND)
    ax.plot(rates, mean, color=theme.blue, gid="mean", **LINE)
    handles = []
    for (rule, suggestion), color in zip(
        suggestions._asdict().items(), colors, strict=True
    ):
        label = f"{LABELS[rule]} {suggestion.rate:.2g}"
        if suggestion.reason:
            label = f"{LABELS[rule]}: undecided"
        handles.append(Line2D([], [], color=color, label=label, **LINE))
        if not suggestion.reason:
            spread = 10 ** np.nan_to_num(suggestion.standard_error)
            ax.axvline(suggestion.rate, color=color, gid=rule, **LINE)
            ax.axvspan(
                suggestion.rate / spread,
                suggestion.rate * spread,
                color=color,
                **BAND,
            )
    dress(ax, "learning rate", theme)
    ax.set_xscale("log")
    few_ticks(ax)
    ax.xaxis.set_major_formatter("{x:g}")
    few_ticks(ax, "y")
    ax.set_xlim(rates[0], rates[-1])
    if np.isfinite(mean).any():
        ax.set_ylim(*_limits(mean, losses))
    name_lines(figure, handles, [str(line.get_label()) for line in handles], theme)
    return figure


def _limits(mean: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    start = float(mean[np.isfinite(mean)][0])
    lowest = min(float(np.nanmin(mean)), float(np.nanquantile(losses, _LOW)))
    fall = max(start - lowest, _LEAST_FALL * max(abs(start), math.ulp(_LEAST_FALL)))
    return lowest - _BELOW * fall, start + _ABOVE * fall
