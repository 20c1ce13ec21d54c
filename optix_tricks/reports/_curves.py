"""Draws a run's curves: one figure, every logged row on it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from optix_tricks.reports._looks import DOTTED, FAINT, LARGE, LINE, THIN, new_figure
from optix_tricks.reports._read import Columns, Run
from optix_tricks.reports._style import DARK, LIGHT, Theme, dress

_NORMS = ("parameter", "gradient", "update")
_USUAL = {"step", "epoch", "loss", "accuracy", "learning_rate"}
_PANEL = (4.9, 3.3)
_UNDER, _OVER = (0, -48), (0, 48)  # points from the last test to its number
_ARROW = {"arrowstyle": "-", "lw": 0.8}
_EXTRA_PANELS = 4
_LOG_SPAN = 30.0
LOG_FLOOR = 1e-3


def smoothing_window(rows: int) -> int:
    """How many rows the strong line averages: 1, thus none, below 80.

    >>> [smoothing_window(rows) for rows in (5, 40, 500, 5_000)]
    [1, 1, 13, 125]
    """
    return 2 * (rows // 80) + 1


def extra_columns(run: Run) -> list[str]:
    """The train columns beyond the usual ones, such as clip factors, sorted.

    Those of single layers, as `gradient_norm/head/kernel`, are left out.
    """
    usual = _USUAL | {f"{name}_norm" for name in _NORMS}
    return sorted(name for name in set(run.train) - usual if "/" not in name)


def changes(values: np.ndarray) -> bool:
    """Whether a column has two values at least."""
    seen = values[np.isfinite(values)]
    return seen.size > 0 and bool((seen != seen[0]).any())


def wants_log(run: Run) -> bool:
    """Whether the smoothed loss spans more than a factor 30."""
    train = _centred_mean(column(run.train, "loss"))
    losses = [train, column(run.validation, "loss"), column(run.test, "loss")]
    seen = np.concatenate(losses)
    seen = seen[np.isfinite(seen)]
    return bool(seen.size and 0 < _LOG_SPAN * seen.min() < seen.max())


def norms_of(run: Run) -> dict[str, np.ndarray]:
    """Norms of parameters, gradient and update, and the last over the first."""
    norms = {}
    for name in _NORMS:
        norm = column(run.train, f"{name}_norm")
        norms[name] = np.where(norm > 0, norm, np.nan)
    norms["update/parameter"] = norms["update"] / norms["parameter"]
    return norms


def plot_curves(run: Run, *, dark: bool = False) -> Figure:
    """Draw loss, accuracy, learning rate and norms over the steps of `run`.

    The faint line is every row, the strong one its centred mean over
    `smoothing_window` rows; nan, and zero on a log axis, is a gap. Up to four further
    train columns get a panel each, if their values change. The learning rate is not
    smoothed. The loss axis is logarithmic where the smoothed loss spans more than a
    factor 30; the axis of norms ends at a thousandth of the median update/parameter, so
    that a learning rate that ends at zero does not flatten the rest.

    Args:
        run: The run, finished or not.
        dark: Whether to draw for a dark page.

    Returns:
        A figure that no global state knows of, to be saved by `figure.savefig`.
    """
    theme = DARK if dark else LIGHT
    changing = [name for name in extra_columns(run) if changes(run.train[name])]
    extras = changing[:_EXTRA_PANELS]
    panel_rows = 2 + (len(extras) + 1) // 2
    figure = new_figure(theme, _PANEL, rows=panel_rows, columns=2)
    axes = list(figure.subplots(panel_rows, 2).flat)
    for ax in axes[4 + len(extras) :]:
        ax.remove()
    _draw_loss(axes[0], run, theme)
    _draw_accuracy(axes[1], run, theme)
    _draw_column(axes[2], run, "learning_rate", theme, smooth=False)
    _draw_norms(axes[3], run, theme)
    for ax, name in zip(axes[4:], extras, strict=False):
        _draw_column(ax, run, name, theme)
    for ax in figure.axes:
        dress(ax, step_label(run), theme)
    return figure


def _draw_loss(ax: Axes, run: Run, theme: Theme) -> None:
    ax.set_title("Loss")
    ax.set_ylabel("loss")
    of_kinds = run.train, run.validation, run.test
    train, validation, test = (column(rows, "loss") for rows in of_kinds)
    if wants_log(run):
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylabel("loss (log scale)")
    _draw_train(ax, run, train, "train", theme.blue)
    _draw_after_epochs(ax, run.validation, validation, "validation", theme.green)
    _draw_after_epochs(ax, run.test, test, "test", theme.orange)


def _draw_accuracy(ax: Axes, run: Run, theme: Theme) -> None:
    ax.set_title("Accuracy")
    ax.set_ylabel("accuracy (%)")
    of_kinds = run.train, run.validation, run.test
    train, validation, test = (100 * column(rows, "accuracy") for rows in of_kinds)
    _draw_train(ax, run, train, "train", theme.blue)
    _draw_after_epochs(ax, run.validation, validation, "validation", theme.green)
    _draw_after_epochs(ax, run.test, test, "test", theme.orange)
    tested = np.flatnonzero(np.isfinite(test))
    if not tested.size:
        return
    last = tested[-1]
    is_high = test[last] > np.mean(ax.get_ylim())
    ax.annotate(
        f"test {test[last]:.2f} %",
        (run.test["step"][last], test[last]),
        xytext=_UNDER if is_high else _OVER,
        textcoords="offset points",
        ha="right",
        va="center",
        color=theme.orange,
        bbox={"boxstyle": "round,pad=0.2", "fc": theme.ground, "ec": "none"},
        arrowprops={"color": theme.orange, "relpos": (1, int(is_high)), **_ARROW},
        **LARGE,
    )


def _draw_column(
    ax: Axes, run: Run, name: str, theme: Theme, *, smooth: bool = True
) -> None:
    spoken = name.replace("_", " ")
    ax.set_title(spoken[:1].upper() + spoken[1:])
    ax.set_ylabel(spoken, parse_math=False)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    values = column(run.train, name)
    _draw_train(ax, run, values, spoken, theme.blue, smooth=smooth)


def _draw_norms(ax: Axes, run: Run, theme: Theme) -> None:
    ax.set_title("Norms")
    ax.set_ylabel("L2 norm (log scale)")
    ax.set_yscale("log", nonpositive="mask")
    norms = norms_of(run)
    colors = (theme.green, theme.blue, theme.orange, theme.pink)
    for (name, norm), color in zip(norms.items(), colors, strict=True):
        _draw_train(ax, run, norm, name, color)
    ratio = norms["update/parameter"]
    if np.isfinite(ratio).any():
        ax.set_ylim(bottom=max(ax.get_ylim()[0], LOG_FLOOR * np.nanmedian(ratio)))


def column(columns: Columns, name: str) -> np.ndarray:
    """The column of a name; nan where there is none."""
    return columns.get(name, np.full(columns["step"].shape, np.nan))


def _draw_train(
    ax: Axes,
    run: Run,
    values: np.ndarray,
    label: str,
    color: str,
    *,
    smooth: bool = True,
) -> None:
    """A line whose gid is `label` for the rows, and one more for their mean."""
    if not np.isfinite(values).any():
        return
    step = run.train["step"]
    (rows,) = ax.plot(step, values, color=color, gid=label, label=label)
    if smoothing_window(values.size) == 1:
        rows.set(**LINE, **DOTTED)
    elif smooth:
        rows.set(label=f"_{label}", **FAINT)
        ax.plot(step, _centred_mean(values), color=color, label=label, **LINE)


def _draw_after_epochs(
    ax: Axes, rows: Columns, values: np.ndarray, label: str, color: str
) -> None:
    if np.isfinite(values).any():
        looks = {**THIN, **DOTTED}
        ax.plot(rows["step"], values, color=color, gid=label, label=label, **looks)


def _centred_mean(values: np.ndarray) -> np.ndarray:
    """The mean over the window round each row: nan is left out and stays nan.

    At the start the window shrinks symmetrically, so that a steep beginning is not
    flattened; at the end it loses its right side only.
    """
    rows = np.arange(values.size)
    half = np.minimum(smoothing_window(values.size) // 2, rows)
    low, high = rows - half, np.minimum(rows + half + 1, values.size)
    is_finite = np.isfinite(values)
    total = np.append(0, np.cumsum(np.where(is_finite, values, 0)))
    count = np.append(0, np.cumsum(is_finite))
    mean = (total[high] - total[low]) / np.maximum(count[high] - count[low], 1)
    return np.where(is_finite, mean, np.nan)


def step_label(run: Run) -> str:
    """The step's axis label, with the steps per epoch where the rows tell them.

    Read from differences, so that it does not matter where steps start to count.
    """
    step, epoch = run.train["step"], column(run.train, "epoch")
    seen = np.flatnonzero(np.isfinite(epoch))
    if seen.size < 2 or epoch[seen[-1]] <= epoch[seen[0]]:
        return "step"
    steps, epochs = np.diff(step[seen[[0, -1]]]), np.diff(epoch[seen[[0, -1]]])
    return f"step ({(steps / epochs).item():,.0f} per epoch)"
