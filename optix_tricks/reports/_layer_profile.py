"""Draws what goes through the layers of models, one beside the other."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from optix_tricks.dynamics import LayerProfile
from optix_tricks.reports._looks import LINE, few_ticks, name_lines, new_figure
from optix_tricks.reports._style import DARK, LIGHT, dress


def _in_parts_of_the_last(values: np.ndarray) -> np.ndarray:
    return values / values[-1] if values[-1] else values


_PANELS: Mapping[str, Callable[[LayerProfile], np.ndarray]] = {
    "Activations, rms": lambda profile: np.asarray(profile.activation_rms),
    "Gradients, norm": lambda profile: _in_parts_of_the_last(
        np.asarray(profile.gradient_norm)
    ),
    "Dead units": lambda profile: np.asarray(profile.dead),
}

_PANEL = (3.0, 3.0)
_SHARES = (-0.03, 1.03)


def plot_layer_profile(
    profiles: Mapping[str, LayerProfile], *, dark: bool = False
) -> Figure:
    """Draw activations, gradients and dead units by layer, a line for each model.

    Activations run from the left to the right, gradients from the right to the left:
    those are drawn in parts of the last layer's. A gap in a logarithmic panel is a zero.

    Args:
        profiles: of `layer_profile` by name, one to four: the same net with other norms
            or initialisers, or at other times of its training.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by
        `figure.savefig("layers.png")`.

    Raises:
        ValueError: if there are no profiles or more than four.

    Examples:
        >>> ones = np.ones(3)
        >>> names = ("a", "b", "c")
        >>> profile = LayerProfile(names, *[ones] * 7, 0.0, 0.0, "steady")
        >>> figure = plot_layer_profile({"net": profile})
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['Activations, rms', 'Gradients, norm', 'Dead units']
    """
    theme = DARK if dark else LIGHT
    colors = (theme.blue, theme.orange, theme.green, theme.pink)
    if not 1 <= len(profiles) <= len(colors):
        raise ValueError(f"profiles must be of 1 to 4 models, got {len(profiles)}.")
    figure = new_figure(theme, _PANEL, columns=len(_PANELS))
    panels = figure.subplots(1, len(_PANELS))
    for ax in panels[:2]:
        ax.set_yscale("log")
    for ax, (title, read) in zip(panels, _PANELS.items(), strict=True):
        ax.set_title(title)
        for (name, profile), color in zip(profiles.items(), colors, strict=False):
            values = read(profile)
            if ax.get_yscale() == "log":
                values = np.where(values > 0, values, np.nan)
            layers = np.arange(1, len(values) + 1)
            ax.plot(layers, values, color=color, gid=name, **LINE)
        dress(ax, "layer", theme)
        few_ticks(ax, "y")
    panels[2].set_ylim(*_SHARES)
    panels[2].yaxis.set_major_formatter(PercentFormatter(1))
    names = [f"{name}: {profile.verdict}" for name, profile in profiles.items()]
    name_lines(figure, panels[0].lines, names, theme)
    return figure
