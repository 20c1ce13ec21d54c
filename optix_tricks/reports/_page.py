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
from optix_tricks.reports._confusion import confusion_table
from optix_tricks.reports._curves import plot_curves, smoothing_window
from optix_tricks.reports._read import Run, read_run

_DOTS_PER_INCH = 130
_COLORS = 128

STYLE = """
:root { color-scheme: light dark; --ground: #f6f8fa; --card: #ffffff; --ink: #1f2328;
  --muted: #59636e; --line: #d8dee4; --mark: #d55e00; --right: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --card: #161b22;
  --ink: #e6edf3; --muted: #9198a1; --line: #2d343d; --mark: #f0923b;
  --right: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem;
  background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; }
h1 small { color: var(--muted); font-size: 1.25rem; font-weight: 400; }
h2 { margin: 2.25rem 0 .6rem; font-size: 1.1rem; }
p { margin: .4rem 0; color: var(--muted); }
code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.unfinished { margin-top: 1rem; padding: .6rem .9rem; color: var(--ink);
  background: var(--card); border: 1px solid var(--line);
  border-left: 4px solid var(--mark); border-radius: 6px; }
dl { display: grid; gap: .75rem; margin: 1.25rem 0;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
dl div, .scroll, figure { background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; }
dl div { padding: .7rem .9rem; }
dt { color: var(--muted); font-size: .85rem; }
dd { margin: 0; font-size: 1.4rem; font-weight: 600;
  font-variant-numeric: tabular-nums; }
figure { margin: 0; padding: .5rem; overflow: auto; }
figure img { display: block; width: 100%; min-width: 44rem; height: auto; }
.scroll { overflow: auto; }
.epochs .scroll { max-height: 33rem; }
@media print { .epochs .scroll { max-height: none; } }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { position: sticky; top: 0; background: var(--card); color: var(--muted);
  font-weight: 600; text-align: left; box-shadow: inset 0 -1px var(--line); }
th, td { padding: .35rem .9rem; }
td { border-top: 1px solid var(--line); overflow-wrap: anywhere; }
tr:first-child td { border-top: 0; }
.numbers th, .numbers td { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.numbers th:first-child, .numbers td:first-child { text-align: left; }
.confusion th, .confusion td { text-align: right; padding: .35rem .5rem;
  font-variant-numeric: tabular-nums; }
.confusion th[scope="row"] { position: static; box-shadow: none; }
.settings td:first-child { width: 34%; color: var(--muted); white-space: nowrap; }
.columns { display: grid; gap: 0 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
"""


def write_report(path: str | os.PathLike[str]) -> Path:
    """Write `report.html` and `figures/curves.png` into a run's directory.

    The page holds its figures and its style, fetches nothing and runs no script, so it
    can be mailed or archived as it is; it follows the reader's light or dark setting.
    Both files are replaced in one go: a reader never sees half of one.

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
    replace_file(page, _html(run, light, dark).encode())
    return page


def png(figure: Figure) -> bytes:
    """The figure in few colours: a third of the size, and no eye sees it."""
    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=_DOTS_PER_INCH)
    image = Image.open(raw).convert("RGB")
    image = image.quantize(_COLORS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    image.save(small, "PNG", optimize=True)
    return small.getvalue()


def _html(run: Run, light: bytes, dark: bytes) -> str:
    dataset = run.config.get("dataset")
    title = f"{run.recipe} on {dataset}" if dataset else run.recipe
    heading = escape(run.recipe)
    if dataset:
        heading += f" <small>on {escape(str(dataset))}</small>"
    parts = [
        f"<h1>{heading}</h1>",
        _started(run),
        _unfinished(run),
        f"<dl>{_tables.headline(run)}</dl>",
        "<h2>Curves</h2>",
        f"<figure>{_picture(run, light, dark)}</figure>",
        f"<p>{_caption(run)}</p>",
        f'<section class="epochs"><h2>Epochs</h2>{_tables.epoch_table(run)}</section>',
    ]
    if run.confusion is not None:
        table = confusion_table(run.confusion)
        parts += ["<h2>What the final test took for what</h2>", table]
    if _tables.extra_columns(run):
        parts += ["<h2>Further columns</h2>", _tables.extras_table(run)]
    if further := _tables.further_results(run):
        parts += ["<h2>Further results</h2>", _tables.settings_table(further)]
    if run.speed is not None:
        parts += ["<h2>Speed</h2>", _tables.settings_table(run.speed)]
    if run.trace is not None:
        parts += ["<h2>Profile</h2>", _profile(run.path, run.trace)]
    parts += [
        '<div class="columns">',
        f"<section><h2>Config</h2>{_tables.settings_table(run.config)}</section>",
        "<section><h2>Environment</h2>",
        f"{_tables.settings_table(run.environment)}</section></div>",
    ]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" content="default-src '
            "'none'; style-src 'unsafe-inline'; img-src data:\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style></head><body>",
            *filter(None, parts),
            "</body></html>\n",
        ]
    )


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
