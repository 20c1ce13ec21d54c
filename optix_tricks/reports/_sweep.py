"""Draws a sweep of one number as a curve, of two as a map; writes both down."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optix_tricks._files import own_directory, replace_file
from optix_tricks.reports._looks import DOTS, LINE, RING, new_figure
from optix_tricks.reports._page import png
from optix_tricks.reports._style import DARK, LIGHT, Theme, dress

_CURVE = (6.0, 3.8)
_CELL = (0.85, 0.5)  # inches
_MOST = 9  # values that an axis names
_WIDE = 10  # highest over lowest value, from which an axis is logarithmic


def plot_sweep(
    axes: Mapping[str, Sequence[int | float]],
    values: np.ndarray | Sequence[Any],
    *,
    label: str,
    dark: bool = False,
) -> Figure:
    """Draw results over one number, or over two.

    Of one: dots are trainings, the line joins the means, with a standard error to each
    side. Of two: the mean in each cell. A ring marks the best mean. Trainings that are
    missing or diverged are NaN; a combination with one has no mean.

    Args:
      axes: names and values of one number or two.
      values: [combinations, seeds], the last number varying fastest.
      label: what they are; "accuracy" in it makes the highest the best, and percent.
      dark: whether to draw for a dark page.

    Raises:
      ValueError: if there are more than two numbers.

    Examples:
      >>> figure = plot_sweep({"rate": [0.1, 1.0]}, [[0.5], [0.6]], label="test accuracy")
      >>> figure.axes[0].get_ylabel()
      'test accuracy, %'
    """
    if len(axes) > 2:
        raise ValueError(f"axes must be of one number or two, got {len(axes)}.")
    theme = DARK if dark else LIGHT
    is_accuracy = "accuracy" in label
    table = np.asarray(values, float) * (100 if is_accuracy else 1)
    label = f"{label}, %" if is_accuracy else label
    means = np.where(np.isnan(table).any(axis=1), np.nan, table.mean(axis=1))
    best = int(np.nanargmax(means if is_accuracy else -means))
    if len(axes) == 1:
        figure = new_figure(theme, _CURVE)
        ((name, x),) = axes.items()
        _curve(figure.subplots(), np.asarray(x, float), table, means, best, theme)
        figure.axes[0].set_ylabel(label)
        dress(figure.axes[0], name, theme)
        if len(x) <= _MOST:
            figure.axes[0].set_xticks(x, [f"{v:.3g}" for v in x])
            figure.axes[0].minorticks_off()
    else:
        sizes = [len(x) for x in axes.values()]
        shape = sizes[1] * _CELL[0], sizes[0] * _CELL[1]
        figure = new_figure(theme, shape)
        _map(figure.subplots(), axes, means.reshape(sizes), best, theme)
        figure.suptitle(label, color=theme.ink, fontsize=11)
    return figure


def write_sweep(
    path: str | os.PathLike[str],
    *,
    title: str,
    axes: Mapping[str, Sequence[int | float]],
    results: Mapping[str, Any],
    chosen_by: str,
    share: Sequence[float],
) -> Path:
    """Write `sweep.json` and, of one number or two, `figures/sweep.png`.

    Returns:
      The path of the figure, or of the file of more than two numbers.
    """
    path = Path(path)
    found = {
        "title": title,
        "axes": {name: list(x) for name, x in axes.items()},
        "chosen_by": chosen_by,
        "best_in": [float(x) for x in share],
        **{name: _lists(x) for name, x in results.items()},
    }
    replace_file(path / "sweep.json", (json.dumps(found, indent=1) + "\n").encode())
    if len(axes) > 2:
        return path / "sweep.json"
    figures = path / "figures"
    own_directory(figures)
    label = chosen_by.replace("_", " ")
    figure = plot_sweep(axes, results[chosen_by], label=label)
    replace_file(figures / "sweep.png", png(figure))
    return figures / "sweep.png"


def _curve(
    ax: Axes, x: np.ndarray, table: np.ndarray, means: np.ndarray, best: int, theme: Theme
) -> None:
    if min(x) > 0 and max(x) / min(x) >= _WIDE:
        ax.set_xscale("log")
    at = np.broadcast_to(x[:, None], table.shape)
    ax.plot(at.ravel(), table.ravel(), ".", color=theme.blue, **DOTS)
    seeds = table.shape[1]
    if seeds > 1:
        errors = table.std(axis=1, ddof=1) / np.sqrt(seeds)
        ax.errorbar(x, means, errors, fmt="none", ecolor=theme.blue)
    ax.plot(x, means, color=theme.blue, **LINE)
    ax.plot(x[best], means[best], "o", color=theme.orange, **RING)


def _map(
    ax: Axes,
    axes: Mapping[str, Sequence[int | float]],
    means: np.ndarray,
    best: int,
    theme: Theme,
) -> None:
    (rows, y), (columns, x) = axes.items()
    ax.imshow(means, cmap="Blues_r" if theme is DARK else "Blues", aspect="auto")
    middle = (np.nanmin(means) + np.nanmax(means)) / 2
    for i, j in np.ndindex(means.shape):
        mean = means[i, j]
        is_dark = (mean > middle) == (theme is LIGHT)
        is_best = i * len(x) + j == best
        ax.text(
            j,
            i,
            "-" if np.isnan(mean) else f"{mean:.4g}",
            ha="center",
            va="center",
            color="#ffffff" if is_dark else "#1f2328",
            fontweight="bold" if is_best else None,
            bbox={"edgecolor": theme.orange, "fill": False} if is_best else None,
        )
    ax.spines[:].set_visible(False)
    ax.set_xticks(range(len(x)), [f"{v:g}" for v in x], color=theme.muted)
    ax.set_yticks(range(len(y)), [f"{v:g}" for v in y], color=theme.muted)
    ax.set_xlabel(columns, color=theme.muted)
    ax.set_ylabel(rows, color=theme.muted)


def _lists(x: Any) -> Any:
    table = np.asarray(x, float)
    return [[None if np.isnan(v) else float(v) for v in row] for row in table]
