"""Draws a loss along directions against its Taylor models."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optix_tricks.dynamics import TaylorModel
from optix_tricks.reports._looks import (
    BAND,
    CORNER,
    LINE,
    MARKS,
    SMALL,
    few_ticks,
    name_lines,
    new_figure,
)
from optix_tricks.reports._style import DARK, LIGHT, Theme, dress

DEGREES = ("linear", "quadratic", "cubic")

_PANEL = (3.4, 3.2)
_MARGIN = 0.3  # of the loss's span, above and below


def plot_taylor_model(models: Mapping[str, TaylorModel], *, dark: bool = False) -> Figure:
    """Draw the loss along each direction, with its linear, quadratic and cubic model.

    A panel for each direction, such as the eigenvectors of the largest and the smallest
    curvature. The shaded strip is where the quadratic model holds to its tolerance, the
    number in the corner the curvature. The axis of the loss spans the loss itself: models
    that go wrong leave it.

    Args:
        models: of `taylor_model` by name of the direction, one to four; models of a
            degree above three are not drawn.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by
        `figure.savefig("taylor_model.png")`.

    Raises:
        ValueError: if there are no directions or more than four.

    Examples:
        >>> import jax.numpy as jnp
        >>> from optix_tricks.dynamics import taylor_model
        >>> model = taylor_model(jnp.cos, jnp.array(0.0), jnp.array(1.0))
        >>> figure = plot_taylor_model({"all there is": model})
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['all there is']
    """
    if not 1 <= len(models) <= 4:
        raise ValueError(f"models must be of 1 to 4 directions, got {len(models)}.")
    theme = DARK if dark else LIGHT
    figure = new_figure(theme, _PANEL, columns=len(models))
    panels = figure.subplots(1, len(models), squeeze=False)[0]
    for ax, (name, model) in zip(panels, models.items(), strict=True):
        ax.set_title(name)
        _draw(ax, model, theme)
    panels[0].set_ylabel("loss")
    widest = max(panels, key=lambda ax: len(ax.lines))
    handles = [line for line in widest.lines if line.get_gid()]
    lines = [Line2D([], [], color=h.get_color(), ls=h.get_linestyle()) for h in handles]
    name_lines(figure, lines, [str(h.get_gid()) for h in handles], theme)
    return figure


def _draw(ax: Axes, model: TaylorModel, theme: Theme) -> None:
    order = np.argsort(model.ts)
    ts, loss = np.asarray(model.ts)[order], np.asarray(model.loss)[order]
    if len(model.radius) > 1:
        radius = float(model.radius[1])
        ax.axvspan(-radius, radius, color=theme.green, **BAND)
        curvature = f"curvature {float(model.derivatives[2]):.3g}"
        ax.text(
            *(*CORNER, curvature),
            transform=ax.transAxes,
            ha="right",
            va="top",
            color=theme.muted,
            **SMALL,
        )
    colors = (theme.orange, theme.green, theme.pink)
    for degree, color, values in zip(
        DEGREES, colors, np.asarray(model.models), strict=False
    ):
        ax.plot(ts, values[order], "--", color=color, gid=degree, **LINE)
    ax.plot(ts, loss, color=theme.blue, gid="loss", **LINE)
    ax.plot(0, model.derivatives[0], "o", color=theme.ink, **MARKS)
    dress(ax, "t along the direction", theme)
    few_ticks(ax)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlim(ts[0], ts[-1])
    finite = loss[np.isfinite(loss)]
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        margin = _MARGIN * (high - low) or _MARGIN * abs(high) or _MARGIN
        ax.set_ylim(low - margin, high + margin)
