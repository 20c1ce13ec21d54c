"""Writes a run's page: one HTML file that needs nothing but a browser."""

import base64
import io
import os
from html import escape
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from optix_tricks._files import own_directory, replace_file
from optix_tricks.reports import _tables
from optix_tricks.reports._charts import SCRIPTS, STYLES, run_charts
from optix_tricks.reports._confusion import confusion_table
from optix_tricks.reports._curves import plot_curves, smoothing_window
from optix_tricks.reports._examples import examples
from optix_tricks.reports._layers import layer_table, said_of_steps
from optix_tricks.reports._live import live
from optix_tricks.reports._read import Run, read_run
from optix_tricks.reports._setup import cards, files, setup_table
from optix_tricks.reports._verdict import (
    NEXT,
    diagnosed,
    harder_to_train,
    tricks_of,
    verdict,
)
from optix_tricks.reports._web import document

_DOTS_PER_INCH = 130
_COLORS = 128


def write_report(path: str | os.PathLike[str]) -> Path:
    """Write `report.html` and `figures/curves.png` into a run's directory.

    The page holds its numbers, figures, style and script and fetches nothing, so it can
    be mailed or archived as it is; without scripts the figure stands for the curves. It
    begins with the verdict of `diagnose`, follows the reader's light or dark setting and
    can be printed. Both files are replaced in one go: a reader never sees half of one.

    Args:
        path: The run's directory; the run may still be going on.

    Returns:
        The path of the page.

    Raises:
        ReportError: If `path` is not a run's directory or a file in it is broken.

    >>> import tempfile
    >>> config = '{"recipe": "digits", "config": {"epochs": 20}}'
    >>> with tempfile.TemporaryDirectory() as run:
    ...     _ = Path(run, "config.json").write_text(config)
    ...     _ = Path(run, "environment.json").write_text('{"platform": "cpu"}')
    ...     write_report(run).name
    'report.html'
    """
    run = read_run(path)
    light, dark = (png(plot_curves(run, dark=is_dark)) for is_dark in (False, True))
    figures = own_directory(run.path / "figures")
    replace_file(figures / "curves.png", light)
    page = run.path / "report.html"
    replace_file(page, page_of(run, light, dark).encode())
    return page


def png(figure: Figure) -> bytes:
    """The figure in few colours: a third of the size, and no eye sees it."""
    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=_DOTS_PER_INCH)
    image = Image.open(raw).convert("RGB")
    image = image.quantize(_COLORS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    image.save(small, "PNG", optimize=True)
    return small.getvalue()


def page_of(run: Run, light: bytes, dark: bytes) -> str:
    """The page as text, with the figure as PNG for a light and a dark screen."""
    dataset = run.config.get("dataset")
    title = f"{run.recipe} on {dataset}" if dataset else run.recipe
    heading = escape(run.recipe)
    if dataset:
        heading += f" <small>on {escape(str(dataset))}</small>"
    told = diagnosed(run)
    charts = run_charts(run)
    parts = [
        f"<h1>{heading}</h1>",
        _started(run),
        _unfinished(run),
        verdict(run, told),
        f"<dl>{_tables.headline(run)}</dl>",
        "<h2>Curves</h2>",
        live(charts),
        f'<figure id="still">{_picture(run, light, dark)}</figure>',
        f"<p>{_caption(run)} {escape(harder_to_train(run))}</p>",
    ]
    if run.confusion is not None:
        table = confusion_table(run.confusion)
        parts += ["<h2>What the final test took for what</h2>", table]
    parts.append(examples(run))
    if layers := layer_table(run):
        parts += ["<h2>Layers</h2>", layers, f"<p>{said_of_steps(run)}</p>"]
    if setup := setup_table(run):
        parts += ["<h2>Setup</h2>", setup]
    if further := _tables.further_results(run):
        parts += ["<h2>Further results</h2>", _tables.settings_table(further)]
    if run.speed is not None:
        parts += ["<h2>Speed</h2>", _tables.settings_table(run.speed)]
    if run.trace is not None:
        parts += ["<h2>Profile</h2>", _profile(run.path, run.trace)]
    if _tables.extra_columns(run):
        parts += ["<h2>Further columns</h2>", _tables.extras_table(run)]
    advised = () if told is None else NEXT[told.verdict].tricks
    parts += [
        f"<h2>Epochs</h2>{_tables.epoch_table(run)}",
        '<div class="columns">',
        f"<section><h2>Config</h2>{_tables.settings_table(run.config)}</section>",
        "<section><h2>Environment</h2>",
        f"{_tables.settings_table(run.environment)}</section></div>",
        f"<h2>Files</h2>{files(run)}",
    ]
    names = [*advised, *(name for _, (name, _) in tricks_of(run))]
    if folded := cards(names):
        parts += ["<h2>Cards of the tricks</h2>", folded]
    return document(title, parts, styles=STYLES, scripts=SCRIPTS, data=charts)


def _started(run: Run) -> str:
    facts = []
    if command := run.environment.get("command"):
        facts.append(f"<code>{escape(str(command))}</code>")
    if started := run.environment.get("started"):
        facts.append(f"started {escape(str(started))}")
    return f"<p>{'<br>'.join(facts)}</p>" if facts else ""


def _profile(run: Path, trace: Path) -> str:
    place = escape(trace.relative_to(run).as_posix())
    return (
        f'<p>What each operation of a few steps took: open <a href="{place}">{place}</a>'
        ' at <a href="https://ui.perfetto.dev">ui.perfetto.dev</a>.</p>'
    )


def _unfinished(run: Run) -> str:
    if run.result is not None:
        return ""
    step = run.train["step"]
    seen = f"It got to step {step[-1]:,}" if step.size else "It has no train rows"
    tested = "the numbers below are its last test's"
    if not run.test["step"].size:
        tested = "it was never tested"
    return (
        '<p class="unfinished"><strong>Unfinished.</strong> '
        f"This run has no result yet. {seen}; {tested}.</p>"
    )


def _picture(run: Run, light: bytes, dark: bytes) -> str:
    day, night = (base64.b64encode(image).decode() for image in (light, dark))
    return (
        '<picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="data:image/png;base64,{night}"><img alt="Loss, accuracy, learning '
        f'rate and norms over {run.train["step"].size:,} train rows" '
        f'src="data:image/png;base64,{day}"></picture>'
    )


def _caption(run: Run) -> str:
    window = smoothing_window(run.train["step"].size)
    if window == 1:
        return "Points are the logged rows."
    return f"Faint: every logged train row. Strong: its centred mean over {window} rows."
