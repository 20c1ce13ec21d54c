"""Draws weight norms of a run: decay against gradients, layer by layer."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from optix_tricks.dynamics import WeightNormRecord, equilibrium
from optix_tricks.reports._curves import smoothing_window
from optix_tricks.reports._looks import DOTS, FAINT, LINE, NOISE, RULE, TEXT, new_figure
from optix_tricks.reports._style import DARK, LIGHT, Theme, dress

_TITLES = {
    "shrink": "What decay takes from |w|² in a step",
    "growth": "What the gradient adds to |w|²",
    "both": "Both",
    "square_norm": "|w|², 1 at the start",
    "relative_update": "η|g|/|w| and its prediction",
    "trace_cosine": "cos(gradient, sum of those before)",
    "rotation": "Angle turned in a step, radians",
}
_MOST_DOTS = 400  # a layer
_PANEL = (4.9, 3.1)
_NAMES = 13  # of layers, in a column of the legend
_BELOW = 100  # the median of what is usual over the least that is drawn
_TICKS: dict[str, Any] = {"subs": (1.0, 3.0), "numticks": 8}
_CLOUD: dict[str, Any] = DOTS | {"linestyle": "none", "marker": ".", "markeredgewidth": 0}
_ON_LIGHT, _ON_DARK = ("plasma", (0.0, 0.85)), ("viridis", (0.25, 1.0))


def plot_weight_norms(
    record: WeightNormRecord, *, kind: str = "heavy_ball", dark: bool = False
) -> Figure:
    """Draw how decay and gradients change each layer's norm over a run.

    Seven panels: what decay takes from |w|², what the gradient adds, the one over the
    other, |w|² itself, all relative to each layer's |w|² at the first sample; the
    relative update η|g|/|w| against the line of `equilibrium`, sqrt(2ηλ(1-ρ)) for heavy
    ball; the cosine of the gradient with the running sum of those before it; and the
    angle per step against its line. Colours run from the first layer to the last.

    Args:
        record: Of the layers to be drawn; from `weight_norm_record`.
        kind: A kind of `equilibrium`, for the two lines; there are none without decay.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by `figure.savefig`.

    Raises:
        ValueError: if there is no layer or no sample, or `kind` is unknown.

    Examples:
        >>> ones = np.ones((30, 2))
        >>> record = WeightNormRecord(
        ...     ["conv1", "conv2"], np.arange(30), np.full(30, 0.1), 5e-4, 0.9, 0.9,
        ...     *[ones] * 10,
        ... )
        >>> figure = plot_weight_norms(record)
        >>> [ax.get_title(loc="left") for ax in figure.axes][2]
        'Both'
    """
    if not record.square_norm.size:
        shape = list(record.square_norm.shape)
        raise ValueError(f"record must have a sample and a layer, got {shape}.")
    theme = DARK if dark else LIGHT
    layers = [str(name) for name in record.layers]
    colors = _colors(len(layers), dark)
    figure = new_figure(theme, _PANEL, rows=4, columns=2)
    grid = figure.subplots(4, 2)
    axes = dict(zip(_TITLES, grid.flat, strict=False))
    for name, ax in axes.items():
        ax.set_title(_TITLES[name])
    first = np.asarray(record.square_norm, float)[:1]
    shrink, growth, square = (
        np.asarray(x, float) / np.where(first > 0, first, np.nan)
        for x in (record.shrink, record.growth, record.square_norm)
    )
    step = np.asarray(record.step)
    for name, values in {
        "shrink": shrink,
        "growth": growth,
        "both": shrink,
        "relative_update": record.relative_update,
        "rotation": record.rotation,
    }.items():
        if np.any(np.asarray(values) > 0):
            axes[name].set_yscale("log", nonpositive="mask")
    _draw(axes["shrink"], step, shrink, layers, colors)
    _draw_noisy(axes["growth"], step, growth, layers, colors)
    _draw(axes["both"], step, growth, layers, colors, **FAINT)
    _draw(axes["both"], step, shrink, layers, colors, **LINE)
    _draw(axes["square_norm"], step, square, layers, colors, **LINE)
    cosine = np.asarray(record.trace_cosine)
    axes["trace_cosine"].axhline(0, color=theme.muted, **RULE)
    _draw_noisy(axes["trace_cosine"], step, cosine, layers, colors)
    lines = _predictions(kind, record)
    for name, line in lines.items():
        every = -(-len(step) // _MOST_DOTS)
        values = np.asarray(getattr(record, name))[::every]
        _draw(axes[name], step[::every], values, layers, colors, **_CLOUD)
        if line is not None:
            axes[name].plot(step, line, color=theme.ink, gid="prediction", **LINE)
    for ax, usual in (
        *((axes[name], shrink) for name in ("shrink", "growth", "both")),
        *((axes[name], line) for name, line in lines.items() if line is not None),
    ):
        _frame(ax, usual)
    for ax in axes.values():
        dress(ax, "step", theme)
        if ax.get_yscale() == "log":
            ax.yaxis.set_major_locator(LogLocator(**_TICKS))
            ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            ax.yaxis.set_minor_formatter(NullFormatter())
    _name(grid.flat[7], layers, colors, theme)
    return figure


def _colors(layers: int, dark: bool) -> list[Any]:
    """From the first layer to the last; neither end fades into the ground."""
    name, ends = _ON_DARK if dark else _ON_LIGHT
    return [colormaps[name](x) for x in np.linspace(*ends, layers)]


def _draw(
    ax: Axes,
    step: np.ndarray,
    values: np.ndarray,
    layers: list[str],
    colors: list[Any],
    **style: Any,
) -> None:
    for name, color, column in zip(layers, colors, values.T, strict=True):
        ax.plot(step, column, color=color, gid=name, **style)


def _draw_noisy(
    ax: Axes, step: np.ndarray, values: np.ndarray, layers: list[str], colors: list[Any]
) -> None:
    """Every sample faint, and over it the mean of those around."""
    width = smoothing_window(len(step))
    if width == 1:
        _draw(ax, step, values, layers, colors, **LINE)
        return
    _draw(ax, step, values, layers, colors, **NOISE)
    window = np.ones(width)
    known = np.isfinite(values)
    sums, counts = (
        np.stack([np.convolve(column, window, "same") for column in x.T], axis=1)
        for x in (np.where(known, values, 0), known.astype(float))
    )
    means = np.where(known, sums / np.maximum(counts, 1), np.nan)
    names = [f"{name} mean" for name in layers]
    _draw(ax, step, means, names, colors, **LINE)


def _predictions(kind: str, record: WeightNormRecord) -> dict[str, Any]:
    """The two lines of `equilibrium`, NaN where the rate is zero; None without decay."""
    decay = float(record.weight_decay)
    rate = np.asarray(record.learning_rate, float)
    found = equilibrium(
        kind,
        learning_rate=np.where(rate > 0, rate, np.nan),
        weight_decay=decay or 1.0,
        momentum=float(record.momentum),
    )
    lines = {
        "relative_update": np.asarray(found.first_order),
        "rotation": np.asarray(found.rotation),
    }
    return lines if decay else dict.fromkeys(lines)


def _frame(ax: Axes, usual: np.ndarray) -> None:
    """Cut the axis at a hundredth of what is usual: a rate's way to zero takes the rest.

    The dots of the first steps may be far above it, and are shown.
    """
    positive = usual[usual > 0]
    if positive.size and ax.get_yscale() == "log":
        ax.set_ylim(bottom=max(ax.get_ylim()[0], np.median(positive) / _BELOW))


def _name(ax: Axes, layers: list[str], colors: list[Any], theme: Theme) -> None:
    """The names of the layers, and of the line, in the place of the eighth panel."""
    ax.set_axis_off()
    handles = [Line2D([], [], color=color, **LINE) for color in colors]
    handles.append(Line2D([], [], color=theme.ink, **LINE))
    legend = ax.legend(
        handles=handles,
        labels=[*layers, "equilibrium"],
        loc="upper left",
        ncols=1 + len(layers) // _NAMES,
        frameon=False,
        labelcolor=theme.ink,
        title="layers, first to last",
        alignment="left",
        **TEXT,
    )
    legend.get_title().set_color(theme.muted)
