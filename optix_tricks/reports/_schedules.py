"""Draws schedules over the steps of a run."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from optix_tricks._checks import check_count
from optix_tricks.reports._looks import DOTTED, LINE, new_figure
from optix_tricks.reports._style import DARK, LIGHT, Theme, dress

_PANEL = (7.8, 2.9)
_MARKED_STEPS = 40

Schedules = Mapping[str, optax.Schedule]


def plot_schedule(
    schedules: optax.Schedule | Mapping[str, optax.Schedule | Schedules],
    steps: int,
    *,
    dark: bool = False,
) -> Figure:
    """Draw the values that a run of `steps` updates uses, those at 0 ... steps - 1.

    Each entry gets a panel with its own axis, one under the other over the same steps:
    a rate and its momentum. An entry of several schedules puts them into one panel, to
    be compared. Up to 40 steps every value is a point.

    Args:
        schedules: A schedule, or schedules by name, or up to four of them by name under
            the name of their panel. Any functions of the step that can be traced.
        steps: The updates of the run, at least 1.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by
        `figure.savefig("schedule.png")`.

    Raises:
        ValueError: if `steps` is not a whole number of at least 1, or there is no
            schedule, or a panel has more than four.

    Examples:
        >>> rate = optax.cosine_decay_schedule(0.1, 100)
        >>> named = {"learning rate": rate, "momentum": lambda step: 0.9}
        >>> figure = plot_schedule(named, 100)
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['Learning rate', 'Momentum']
    """
    check_count("steps", steps, minimum=1)
    if not isinstance(schedules, Mapping):
        schedules = {"value": schedules}
    if not schedules:
        raise ValueError("schedules must name at least one schedule, got {}.")
    theme = DARK if dark else LIGHT
    figure = new_figure(theme, _PANEL, rows=len(schedules))
    rows = figure.subplots(len(schedules), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, entry) in zip(rows, schedules.items(), strict=True):
        lines = entry if isinstance(entry, Mapping) else {name: entry}
        _draw(ax, name, lines, steps, theme)
        dress(ax, "step" if ax is rows[-1] else "", theme)
    return figure


def _draw(ax: Axes, name: str, lines: Schedules, steps: int, theme: Theme) -> None:
    colors = (theme.blue, theme.orange, theme.green, theme.pink)
    if not 1 <= len(lines) <= len(colors):
        raise ValueError(
            f"a panel must have one to {len(colors)} schedules, got {len(lines)} in"
            f" {name!r}."
        )
    ax.set_title(name[:1].upper() + name[1:])
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    counts = jnp.arange(steps)
    for (label, schedule), color in zip(lines.items(), colors, strict=False):
        values = np.asarray(jax.jit(jax.vmap(schedule))(counts))
        marks = DOTTED if steps <= _MARKED_STEPS else {}
        ax.plot(counts, values, color=color, gid=label, label=label, **LINE, **marks)
