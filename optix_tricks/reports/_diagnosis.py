"""Draws what a diagnosis rests on, and how often it is right."""

import math
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from optix_tricks.dynamics import Diagnosis, History
from optix_tricks.reports._looks import (
    BAND,
    DOTTED,
    FAINT,
    LINE,
    MARKS,
    RULE,
    SMALL,
    TEXT,
    THIN,
    new_figure,
)
from optix_tricks.reports._style import DARK, LIGHT, Theme, dress

_WIDTH = 145  # characters of a line of evidence
_PANEL, _LEAST = (3.6, 3.3), 10.0  # inches of a panel, and of all together
_LINE_HEIGHT, _LEFT = 0.22, 0.01  # of the evidence: inches, and a share of the width
_COSINES, _ROOM = 1.05, 3  # of the axis of cosines; factors beside gradients
_CELL, _SLANT, _DARK = (0.45, 0.45), 45, 0.6  # of a table: inches, degrees, a share
_NORMS = ("gradient_norm", "update_norm", "parameter_norm")


def plot_diagnosis(
    history: History, diagnosis: Diagnosis, *, dark: bool = False
) -> Figure:
    """Draw a run's loss and norms under the verdict and its evidence.

    The grey half is the one that the verdict looks at; the strong line in it joins the
    medians of twelve blocks of rows, through which the fall is fitted. Beside the loss
    stand the norms, then whichever was logged of the gradients of layers by depth and
    the cosine of successive gradients, and the shares of silent units if there are any.

    Args:
        history: as given to `diagnose`.
        diagnosis: of it.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by
        `figure.savefig("diagnosis.png")`.

    Examples:
        >>> from optix_tricks.dynamics import diagnose
        >>> history = History(np.exp(-np.arange(100.0) / 50))
        >>> figure = plot_diagnosis(history, diagnose(history))
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['Loss']
    """
    theme = DARK if dark else LIGHT
    panels = [_draw_loss]
    if any(getattr(history, name) is not None for name in _NORMS):
        panels.append(_draw_norms)
    if history.layer_gradient_norm:
        panels.append(_draw_layers)
    elif history.gradient_cosine is not None:
        panels.append(_draw_cosine)
    if any(share > 0 for share in _late(history.dead_fraction)):
        panels.append(_draw_silent)
    text = [
        line
        for sentence in diagnosis.evidence
        for line in textwrap.wrap(sentence, _WIDTH, initial_indent="– ")
    ]
    wide, high = _PANEL
    size = (max(wide, _LEAST / len(panels)), high + _LINE_HEIGHT * len(text))
    figure = new_figure(theme, size, columns=len(panels))
    figure.suptitle(
        "\n".join([f"{diagnosis.verdict} (score {diagnosis.score:.2f})", *text]),
        x=_LEFT,
        ha="left",
        color=theme.ink,
        parse_math=False,
        **TEXT,
    )
    for ax, draw in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        draw(ax, history, theme)
    return figure


def _steps(history: History) -> np.ndarray:
    return np.arange(1, len(history.loss) + 1) if history.step is None else history.step


def _scale(ax: Axes, *columns: np.ndarray | None) -> None:
    """Logarithmic if all is positive and spans more than a factor of five."""
    joined = np.concatenate([c for c in columns if c is not None])
    seen = joined[np.isfinite(joined)]
    if seen.size and 0 < 5 * seen.min() < seen.max():
        ax.set_yscale("log", nonpositive="mask")


def _shade(ax: Axes, step: np.ndarray, theme: Theme) -> None:
    ax.axvspan(step[len(step) // 2], step[-1], color=theme.muted, **BAND)


def _draw_loss(ax: Axes, history: History, theme: Theme) -> None:
    step, loss = _steps(history), history.loss
    ax.set_title("Loss")
    ax.plot(step, loss, color=theme.blue, label="train", **FAINT)
    half = len(loss) // 2
    blocks = [b for b in np.array_split(np.arange(half, len(loss)), 12) if b.size]
    blocks = [b[np.isfinite(loss[b])] for b in blocks]
    at = [float(np.mean(step[b])) for b in blocks if b.size]
    medians = [float(np.median(loss[b])) for b in blocks if b.size]
    ax.plot(at, medians, color=theme.ink, gid="medians", label="medians", **LINE)
    if history.test_step is not None and history.test_loss is not None:
        ax.plot(
            history.test_step,
            history.test_loss,
            color=theme.orange,
            label="test",
            **THIN,
            **DOTTED,
        )
    _shade(ax, step, theme)
    _scale(ax, loss, history.test_loss)
    dress(ax, "step", theme)


def _draw_norms(ax: Axes, history: History, theme: Theme) -> None:
    step = _steps(history)
    ax.set_title("Norms")
    for name, color in zip(_NORMS, (theme.blue, theme.orange, theme.green), strict=True):
        column = getattr(history, name)
        if column is not None:
            label = name.removesuffix("_norm")
            ax.plot(step, column, color=color, label=label, gid=name, **THIN)
    _shade(ax, step, theme)
    ax.set_yscale("log", nonpositive="mask")
    dress(ax, "step", theme)


def _late(columns: dict[str, np.ndarray] | None) -> list[float]:
    """Medians of the second half, layer by layer; nan where there is no number."""
    late = [column[len(column) // 2 :] for column in (columns or {}).values()]
    seen = [column[np.isfinite(column)] for column in late]
    return [float(np.median(x)) if x.size else math.nan for x in seen]


def _draw_layers(ax: Axes, history: History, theme: Theme) -> None:
    ax.set_title("Gradient by layer")
    norms = _late(history.layer_gradient_norm)
    ax.plot(range(1, len(norms) + 1), norms, color=theme.blue, marker="o", gid="layers")
    ax.set_yscale("log", nonpositive="mask")
    low, high = ax.get_ylim()
    ax.set_ylim(low / _ROOM, high * _ROOM)
    dress(ax, "layer", theme)


def _draw_silent(ax: Axes, history: History, theme: Theme) -> None:
    ax.set_title("Silent units (%)")
    shares = 100 * np.array(_late(history.dead_fraction))
    ax.bar(range(1, len(shares) + 1), shares, color=theme.orange, gid="silent")
    ax.set_ylim(0, 100)
    dress(ax, "layer", theme)


def _draw_cosine(ax: Axes, history: History, theme: Theme) -> None:
    ax.set_title("Cosine of successive gradients")
    step = _steps(history)
    cosine = history.gradient_cosine
    ax.plot(step, np.asarray(cosine), ".", color=theme.blue, gid="cosine", **MARKS)
    ax.axhline(0, color=theme.muted, **RULE)
    ax.set_ylim(-_COSINES, _COSINES)
    _shade(ax, step, theme)
    dress(ax, "step", theme)


def plot_confusion(
    counts: np.ndarray,
    labels: tuple[str, ...],
    verdicts: tuple[str, ...],
    *,
    dark: bool = False,
) -> Figure:
    """Draw how often runs of each kind got each verdict, as shares of the row.

    Args:
        counts: of shape [labels, verdicts].
        labels: the right verdicts, a row each.
        verdicts: those given, a column each.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of.

    Examples:
        >>> counts = np.array([[9, 1], [0, 4]])
        >>> figure = plot_confusion(counts, ("a", "b"), ("a", "b"))
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['90', '10', '100']
    """
    if counts.shape != (len(labels), len(verdicts)):
        raise ValueError(
            "counts must be of shape [labels, verdicts],"
            f" {[len(labels), len(verdicts)]}, got {list(counts.shape)}."
        )
    theme = DARK if dark else LIGHT
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = max(len(verdicts), len(labels))
    figure = new_figure(theme, _CELL, rows=cells, columns=cells)
    ax = figure.subplots()
    ax.set_facecolor(theme.ground)
    for (row, column), share in np.ndenumerate(shares):
        is_right = labels[row] == verdicts[column]
        color = theme.blue if is_right else theme.orange
        corner = (column - 0.5, row - 0.5)
        ax.add_patch(Rectangle(corner, 1, 1, color=color, alpha=float(share), lw=0))
        if counts[row, column]:
            ink = theme.ground if share > _DARK else theme.ink
            text = f"{100 * share:.0f}"
            ax.text(column, row, text, ha="center", va="center", color=ink, **SMALL)
    rows = [f"{name} ({n:.0f})" for name, n in zip(labels, counts.sum(1), strict=True)]
    ax.set_xticks(range(len(verdicts)), verdicts, rotation=_SLANT, ha="right")
    ax.set_yticks(range(len(labels)), rows)
    ax.set_xlim(-0.5, len(verdicts) - 0.5)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlabel("verdict (% of the row)", color=theme.muted)
    ax.set_ylabel("what the run had (runs)", color=theme.muted)
    ax.tick_params(colors=theme.ink, length=0)
    ax.spines[:].set_color(theme.grid)
    return figure
