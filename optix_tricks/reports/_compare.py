"""Writes a page on several runs: curves over each other, what differs, what came out."""

import base64
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optix_tricks._files import own_directory, replace_file
from optix_tricks.reports import _tables
from optix_tricks.reports._charts import SCRIPTS, STYLES, comparison_charts
from optix_tricks.reports._curves import column, step_label, wants_log
from optix_tricks.reports._live import live
from optix_tricks.reports._looks import DOTTED, LINE, THIN, new_figure
from optix_tricks.reports._page import png
from optix_tricks.reports._read import ReportError, Run, read_run
from optix_tricks.reports._style import DARK, LIGHT, dress
from optix_tricks.reports._verdict import diagnosed, tricks_of
from optix_tricks.reports._web import document

_PANEL = (4.9, 3.3)
_QUANTITIES = (("test", "loss"), ("test", "accuracy"), ("train", "loss"))
_LONGEST = 28  # characters of a name in the figure
_LEFT_OUT = "left out"


def write_comparison(paths: Sequence[str | os.PathLike[str]]) -> Path:
    """Write `comparison.html` on several runs into the directory of the first.

    Curves lie over each other, a colour a run; a table has what differs in their setups,
    another the final numbers. The page holds all that it shows, and
    `figures/comparison.png` the curves without it. Both files are replaced in one go.

    Does little for an effect below the spread of seeds: these are single trainings, and
    `optix-tricks ablate` makes pairs with intervals.

    Args:
        paths: Of two runs or more, finished or not.

    Returns:
        The path of the page.

    Raises:
        ReportError: If a path is not a run's directory, or there is only one.
    """
    runs = [read_run(path) for path in paths]
    if len(runs) < 2:
        raise ReportError(f"paths must be of two runs or more, got {len(runs)}.")
    names = _names(runs)
    figures = own_directory(runs[0].path / "figures")
    light, dark = (png(plot_comparison(runs, names, dark=x)) for x in (False, True))
    replace_file(figures / "comparison.png", light)
    page = runs[0].path / "comparison.html"
    replace_file(page, comparison_of(runs, names, light, dark).encode())
    return page


def comparison_of(
    runs: Sequence[Run], names: Sequence[str], light: bytes, dark: bytes
) -> str:
    """The page as text, with the figure as PNG for a light and a dark screen."""
    charts = comparison_charts(runs, names)
    day, night = (base64.b64encode(image).decode() for image in (light, dark))
    parts = [
        f"<h1>{len(runs)} runs beside each other</h1>",
        f"<ul>{''.join(map(_item, runs, names, [runs[0]] * len(runs)))}</ul>",
        f"<h2>What came out</h2>{_results(runs, names)}",
        "<p>Single trainings: a difference no larger than that of two seeds says nothing."
        " <code>optix-tricks ablate</code> trains pairs and gives intervals.</p>",
        f"<h2>What differs</h2>{_differences(runs, names)}",
        "<h2>Curves</h2>",
        live(charts),
        '<figure id="still"><picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="data:image/png;base64,{night}"><img alt="The curves of the runs" '
        f'src="data:image/png;base64,{day}"></picture></figure>',
    ]
    title = f"{len(runs)} runs: {', '.join(names)}"
    return document(title, parts, styles=STYLES, scripts=SCRIPTS, data=charts)


def plot_comparison(
    runs: Sequence[Run], names: Sequence[str], *, dark: bool = False
) -> Figure:
    """Draw the test losses and accuracies, train losses and rates of several runs."""
    theme = DARK if dark else LIGHT
    colors = (theme.blue, theme.orange, theme.green, theme.pink, theme.muted, theme.ink)
    figure = new_figure(theme, _PANEL, rows=2, columns=2)
    quantities = (*_QUANTITIES, ("train", "learning_rate"))
    for ax, (kind, name) in zip(figure.subplots(2, 2).flat, quantities, strict=True):
        assert isinstance(ax, Axes)
        spoken = name.replace("_", " ")
        unit, said = (100, f"{spoken} (%)") if name == "accuracy" else (1, spoken)
        ax.set_title(f"{kind} {spoken}".capitalize())
        ax.set_ylabel(said)
        for i, (run, label) in enumerate(zip(runs, names, strict=True)):
            rows = getattr(run, kind)
            look: dict[str, Any] = (LINE | DOTTED) if kind == "test" else THIN
            look = look | {"color": colors[i % 6], "linestyle": "-" if i < 6 else "--"}
            short = label if len(label) <= _LONGEST else f"…{label[1 - _LONGEST :]}"
            ax.plot(rows["step"], unit * column(rows, name), label=short, **look)
        if name == "loss" and any(map(wants_log, runs)):
            ax.set_yscale("log", nonpositive="mask")
        dress(ax, step_label(runs[0]), theme)
    return figure


def _names(runs: Sequence[Run]) -> list[str]:
    """The directories' own names, or whole paths where two are the same."""
    short = [run.path.resolve().name for run in runs]
    return short if len(set(short)) == len(short) else [str(run.path) for run in runs]


def _item(run: Run, name: str, first: Run) -> str:
    said = f"{escape(name)}</strong>: {escape(run.recipe)}"
    if (run.path / "report.html").is_file():
        way = os.path.relpath(run.path / "report.html", first.path)
        said += f', <a href="{escape(way)}">its own page</a>'
    if command := run.environment.get("command"):
        said += f", <code>{escape(str(command))}</code>"
    return f"<li><strong>{said}</li>"


def _results(runs: Sequence[Run], names: Sequence[str]) -> str:
    told = [diagnosed(run) for run in runs]
    numbers = [_tables.headline_numbers(run) for run in runs]
    rows = [[label, *(each[label] for each in numbers)] for label in numbers[0]]
    rows.append(["verdict", *("–" if x is None else x.verdict for x in told)])
    ended = ["yes" if run.result is not None else "no" for run in runs]
    return _tables.table(["", *names], [*rows, ["finished", *ended]], "numbers")


def _differences(runs: Sequence[Run], names: Sequence[str]) -> str:
    settings = [_settings(run) for run in runs]
    keys = list(dict.fromkeys(key for each in settings for key in each))
    rows = []
    for key in keys:
        values = [each.get(key, _LEFT_OUT) for each in settings]
        if len(set(values)) > 1:
            rows.append([key, *values])
    if not rows:
        return "<p>Nothing: their recipes, tricks and numbers are the same.</p>"
    return _tables.table(["setting", *names], rows, "numbers")


def _settings(run: Run) -> dict[str, str]:
    """Every setting by name: of a trick whether it is there, and its numbers."""
    settings = {"recipe": run.recipe, **dict(_tables.flatten(run.config))}
    for _, (name, numbers) in tricks_of(run):
        settings[name] = "taken"
        settings |= {f"{name}.{key}": repr(x) for key, x in numbers.items()}
    return settings
