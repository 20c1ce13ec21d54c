"""Draws a loss along directions against its Taylor models."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from optix_tricks.dynamics import TaylorModel
from optix_tricks.reports._style import DARK, LIGHT, Theme, dress

DEGREES = ("linear", "quadratic", "cubic")


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
    figure = Figure(
        figsize=(1.2 + 3.4 * len(models), 3.8),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
        facecolor=theme.ground,
    )
    panels = figure.subplots(1, len(models), squeeze=False)[0]
    for ax, (name, model) in zip(panels, models.items(), strict=True):
        ax.set_title(name)
        _draw(ax, model, theme)
    panels[0].set_ylabel("loss")
    widest = max(panels, key=lambda ax: len(ax.lines))
    handles = [line for line in widest.lines if line.get_gid()]
    figure.legend(
        handles=[
            Line2D([], [], color=h.get_color(), ls=h.get_linestyle()) for h in handles
        ],
        labels=[str(h.get_gid()) for h in handles],
        loc="outside upper left",
        ncols=len(handles),
        frameon=False,
        fontsize=10,
        labelcolor=theme.ink,
        handlelength=1.8,
    )
    return figure


def _draw(ax: Axes, model: TaylorModel, theme: Theme) -> None:
    order = np.argsort(model.ts)
    ts, loss = np.asarray(model.ts)[order], np.asarray(model.loss)[order]
    if len(model.radius) > 1:
        radius = float(model.radius[1])
        ax.axvspan(-radius, radius, color=theme.green, alpha=0.12, linewidth=0)
        curvature = f"curvature {float(model.derivatives[2]):.3g}"
        ax.text(
            *(0.97, 0.95, curvature),
            transform=ax.transAxes,
            ha="right",
            va="top",
            fontsize=9,
            color=theme.muted,
        )
    colors = (theme.orange, theme.green, theme.pink)
    for degree, color, values in zip(
        DEGREES, colors, np.asarray(model.models), strict=False
    ):
        ax.plot(ts, values[order], "--", color=color, linewidth=1.5, gid=degree)
    ax.plot(ts, loss, color=theme.blue, linewidth=2, gid="loss")
    ax.plot(0, model.derivatives[0], "o", color=theme.ink, markersize=4)
    dress(ax, "t along the direction", theme)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlim(ts[0], ts[-1])
    finite = loss[np.isfinite(loss)]
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        margin = 0.3 * (high - low) or 0.1 * max(abs(high), 1e-12)
        ax.set_ylim(low - margin, high + margin)
