"""Draws the trade of batch size against steps, examples and time."""

from typing import Any

import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from optix_tricks.dynamics import BatchTrade
from optix_tricks.reports._looks import (
    ABOVE,
    BAND,
    BELOW,
    BROAD,
    DASHES,
    LINE,
    MARKS,
    OVER,
    SMALL,
    TEXT,
    new_figure,
)
from optix_tricks.reports._style import DARK, LIGHT, Theme, dress

_PANEL = (5.4, 4.0)
_POINTS = 200  # of a line
_TICKS: dict[str, Any] = {"subs": (1, 2, 5), "numticks": 8}


def plot_batch_trade(trade: BatchTrade, *, dark: bool = False) -> Figure:
    """Draw steps against examples for each batch size, and the time where it is known.

    The curve bends at the critical batch size, where steps and examples are both twice
    their least: to its left larger batches save steps for few examples, to its right
    examples are spent for few steps. The bands, and the thick part of the curve around
    that size, are the noise scale's 95 % interval.

    Args:
        trade: Of at least two batch sizes; with `seconds` it gets a second panel.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by
        `figure.savefig("batch_size.png")`.

    Raises:
        ValueError: if there are fewer than two batch sizes.

    Examples:
        >>> from optix_tricks.dynamics import batch_trade
        >>> sizes = np.array([16, 64, 256, 1024])
        >>> trade = batch_trade(100.0, sizes, current_batch_size=64, current_steps=2000)
        >>> [ax.get_title(loc="left") for ax in plot_batch_trade(trade).axes]
        ['Steps against examples']
    """
    if len(trade.batch_size) < 2:
        raise ValueError(
            f"trade must be of at least 2 batch sizes, got {len(trade.batch_size)}."
        )
    theme = DARK if dark else LIGHT
    columns = 1 if trade.seconds is None else 2
    figure = new_figure(theme, _PANEL, columns=columns)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    axes[0].set(title="Steps against examples", ylabel="steps")
    _draw_steps(axes[0], trade, theme)
    _dress_log(axes[0], "examples", theme)
    if trade.seconds is not None:
        axes[1].set(title="Time", ylabel="seconds")
        _draw_time(axes[1], np.asarray(trade.batch_size), trade.seconds, theme)
        _dress_log(axes[1], "batch size", theme)
    return figure


def _draw_steps(ax: Axes, trade: BatchTrade, theme: Theme) -> None:
    sizes = np.asarray(trade.batch_size)
    dense = np.geomspace(sizes.min(), sizes.max(), _POINTS)
    least = zip(np.asarray(trade.min_steps), np.asarray(trade.min_examples), strict=True)
    middle, low, high = (
        (steps * dense + examples, steps + examples / dense) for steps, examples in least
    )
    ax.fill(
        *(np.concatenate([low[i], high[i][::-1]]) for i in (0, 1)),
        color=theme.blue,
        gid="interval",
        **BAND,
    )
    ax.plot(*middle, color=theme.blue, gid="prediction", **LINE)
    examples, steps = np.asarray(trade.examples[0]), np.asarray(trade.steps[0])
    ax.plot(examples, steps, "o", color=theme.blue, gid="batch sizes", **MARKS)
    for size, x, y in zip(sizes, examples, steps, strict=True):
        ax.annotate(
            f"{size:g}",
            (x, y),
            xytext=ABOVE,
            textcoords="offset points",
            color=theme.muted,
            **SMALL,
        )
    critical, start, end = np.asarray(trade.noise_scale)
    label = f"critical batch {critical:,.3g} [{start:,.3g}, {end:,.3g}]"
    if 0 < critical < np.inf:
        corner = float(trade.min_examples[0]), float(trade.min_steps[0])
        part = np.geomspace(
            np.clip(start, sizes.min(), sizes.max()),
            np.clip(end, sizes.min(), sizes.max()),
        )
        ax.plot(
            corner[1] * part + corner[0],
            corner[1] + corner[0] / part,
            color=theme.orange,
            gid="critical interval",
            **BROAD,
        )
        ax.plot(2 * corner[0], 2 * corner[1], "D", color=theme.orange, gid="critical")
        ax.axvline(corner[0], color=theme.muted, **DASHES)
        ax.axhline(corner[1], color=theme.muted, **DASHES)
    ax.text(
        *(*OVER, label),
        transform=ax.transAxes,
        ha="right",
        va="bottom",
        color=theme.orange,
        **TEXT,
    )


def _draw_time(ax: Axes, sizes: np.ndarray, seconds: Array, theme: Theme) -> None:
    middle, low, high = np.asarray(seconds)
    ax.fill_between(
        sizes,
        np.minimum(low, high),
        np.maximum(low, high),
        color=theme.green,
        **BAND,
    )
    ax.plot(sizes, middle, "o-", color=theme.green, gid="seconds", **MARKS)
    fastest = int(np.argmin(middle))
    ax.plot(sizes[fastest], middle[fastest], "D", color=theme.orange, gid="fastest")
    ax.annotate(
        f"{sizes[fastest]:g}",
        (sizes[fastest], middle[fastest]),
        xytext=BELOW,
        textcoords="offset points",
        ha="center",
        color=theme.orange,
        **TEXT,
    )


def _dress_log(ax: Axes, label: str, theme: Theme) -> None:
    dress(ax, label, theme)
    ax.set(xscale="log", yscale="log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(**_TICKS))
        axis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))
        axis.set_minor_formatter(NullFormatter())


def _short(x: float) -> str:
    return EngFormatter(sep="")(x) if x >= 1 else f"{x:g}"
