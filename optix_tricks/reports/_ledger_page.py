"""Writes a ledger's page: one HTML file whose table sorts, filters and opens."""

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from optix_tricks._files import own_directory, replace_file
from optix_tricks.reports._effects import plot_effects
from optix_tricks.reports._page import png
from optix_tricks.reports._read import ReportError
from optix_tricks.reports._web import document

COLUMNS = {
    "trick": "added to the base, or taken away from it",
    "accuracy, points": "mean change and its 95 % interval",
    "test loss": "mean change and its 95 % interval",
    "pairs": "of trainings with the same seed",
    "steps": "to the accuracy at which the other side ends, as a share of its own",
    "step time": "a step's, with the trick over without it",
    "memory": "that the compiled step needs at once, likewise",
    "verdict": "* also after correction for the number of rows",
}
WIDTH, HEIGHT, MARGIN = 150, 18, 6  # pixels, of an interval's drawing


def write_ledger(path: str | os.PathLike[str]) -> Path:
    """Write `ledger.html` and `figures/effects.png` from a ledger's `ledger.json`.

    The page holds all that it shows and fetches nothing. A click on a heading sorts, on
    a row shows its trainings; the boxes above filter.

    Returns:
      The path of the page.

    Raises:
      ReportError: if there is no `ledger.json`, or it is of something else.
    """
    path = Path(path)
    try:
        summary = json.loads((path / "ledger.json").read_text())
        rows, recipe = summary["rows"], summary["recipe"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(
            f"{path} is no ledger: its ledger.json cannot be read"
            f" ({type(error).__name__})."
        ) from error
    if any(row["accuracy"] or row["loss"] for row in rows):
        figures = path / "figures"
        own_directory(figures)
        has = any(row["accuracy"] for row in rows)
        measures = ("accuracy", "loss") if has else ("loss",)
        replace_file(figures / "effects.png", png(plot_effects(rows, measures=measures)))
    page = path / "ledger.html"
    replace_file(page, _html(str(recipe), summary).encode())
    return page


def _html(recipe: str, summary: Mapping[str, Any]) -> str:
    rows = sorted(summary["rows"], key=_order, reverse=True)
    verdicts = sorted({row["verdict"] for row in rows})
    options = "".join(f"<option>{escape(v)}</option>" for v in verdicts)
    widest = {measure: _widest(rows, measure) for measure in ("accuracy", "loss")}
    heads = "".join(
        f'<th title="{escape(said)}"><button>{escape(head)}</button></th>'
        for head, said in COLUMNS.items()
    )
    body = "".join(_row(row, widest) for row in rows)
    title = f"What each trick buys: {recipe} on {summary['dataset']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{_about(summary)}</p>",
        '<div class="tools"><input id="word" placeholder="a word of a row"'
        ' aria-label="filter by a word"><select id="verdict" aria-label="filter by'
        f' verdict"><option value="">every verdict</option>{options}</select>'
        '<span id="count" role="status"></span></div>',
        f'<div class="scroll"><table class="ledger"><thead><tr>{heads}</tr></thead>',
        f"<tbody>{body}</tbody></table></div>",
        f"<h2>The base</h2>{_base(summary)}",
        _refused(summary["refused"]),
        f"<h2>Measured with</h2>{_environments(summary['environments'])}",
    ]
    styles = ("page.css", "ledger.css")
    return document(title, parts, styles=styles, scripts=("ledger.js",))


def _about(summary: Mapping[str, Any]) -> str:
    train, test = summary["examples"]
    looks = ", ".join(map(str, summary["looks"]))
    count = summary["epochs"]
    epochs = f"{count} epoch" + "s" * (count != 1)
    return (
        f"{train:,} training and {test:,} test examples, {epochs} in batches of"
        f" {summary['batch_size']}. Every number is with the trick less"
        " without it, of pairs of trainings with the same seed, initial weights and order"
        f" of the data. Intervals are of {100 * (1 - summary['error']):g} %, over looks"
        f" after {looks} pairs together; a trick got no more pairs once its interval left"
        f" zero out or was no wider than ±{100 * summary['resolution']:g} points."
        " Click on a heading to sort, on a row to see its trainings."
    )


def _row(row: Mapping[str, Any], widest: Mapping[str, float]) -> str:
    cost = row["cost"] or {}
    memory = cost["memory"][0] / cost["memory"][1] if cost else None
    time = cost.get("step_ratio")
    holds = " *" if row["p_corrected"] is not None and row["p_corrected"] < 0.05 else ""
    cells = [
        (row["name"][1:], _opens(row["name"])),
        _interval(row["accuracy"], 100.0, 1, widest["accuracy"]),
        _interval(row["loss"], 1.0, -1, widest["loss"]),
        (row["seeds"], row["seeds"]),
        (_key(row["steps"]), f"{row['steps']:.2f}" if row["steps"] else "-"),
        (_key(time), f"{time:.2f}x" if time else "-"),
        (_key(memory), f"{memory:.2f}x" if memory else "-"),
        (row["verdict"], f"{escape(row['verdict'])}{holds}"),
    ]
    tds = "".join(f'<td data-key="{escape(str(key))}">{x}</td>' for key, x in cells)
    verdict = escape(row["verdict"])
    runs = f'<tr class="runs" hidden><td colspan="{len(COLUMNS)}">{_runs(row)}</td></tr>'
    return f'<tr class="row" data-verdict="{verdict}">{tds}</tr>{runs}'


def _opens(name: str) -> str:
    return f'<button aria-expanded="false" title="its trainings">{escape(name)}</button>'


def _runs(row: Mapping[str, Any]) -> str:
    effect = row["accuracy"] or row["loss"]
    said = f"<p><code>{escape(row['trick'])}</code></p>"
    if row["tuned"]:
        number, one, other = row["tuned"]
        said += f"<p>{escape(number)} {one:g} with it, {other:g} without it.</p>"
    if any(row["diverged"]):
        one, other = row["diverged"]
        said += f"<p>Diverged: {one} with the trick, {other} without it.</p>"
    if effect and effect["looked"]:
        unit = 100 if row["accuracy"] else 1
        said += (
            f"<p>p of no effect {effect['p']:.2g}, corrected {row['p_corrected']:.2g};"
            f" deviation of a difference {unit * effect['deviation']:.3g}; an effect of"
            f" {unit * effect['visible']:.3g} would have been seen in four tries of"
            " five.</p>"
        )
    if row["cost"]:
        one, other = row["cost"]["compile_seconds"]
        said += f"<p>Compiling took {one:.1f} s with it, {other:.1f} s without.</p>"
    heads = "".join(
        f"<th>{x}</th>"
        for x in ("seed", "loss with", "without", "accuracy with", "without")
    )
    pairs = "".join(
        f"<tr>{''.join(f'<td>{_number(x)}</td>' for x in pair)}</tr>"
        for pair in row["pairs"]
    )
    return f'{said}<table class="numbers"><tr>{heads}</tr>{pairs}</table>'


def _number(x: Any) -> str:
    return "-" if x is None else f"{x}" if isinstance(x, int) else f"{x:.4f}"


def _key(x: Any) -> Any:
    return "" if x is None else x


def _interval(
    effect: Mapping[str, Any] | None, unit: int | float, good: int, widest: float
) -> tuple[Any, str]:
    """The key to sort by; a drawing and the numbers."""
    if not effect:
        return "", "-"
    mean, half = effect["mean_at_look"], effect["half_width"]
    digits = 2 if unit == 100 else 3
    if half is None or not effect["looked"]:
        return mean, f"{unit * mean:+.{digits}f}, no interval"
    sign = good * ((mean - half > 0) - (mean + half < 0))
    kind = {1: "better", -1: "worse", 0: "open"}[sign]
    scale = (WIDTH / 2 - MARGIN) / widest

    def at(x: int | float) -> int | float:
        return round(min(max(WIDTH / 2 + scale * x, 0), WIDTH), 1)

    y = HEIGHT / 2
    drawing = (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{kind}">'
        f'<line class="zero" x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="0" y2="{HEIGHT}"/>'
        f'<line class="{kind}" stroke-width="2" x1="{at(mean - half)}"'
        f' x2="{at(mean + half)}" y1="{y}" y2="{y}"/>'
        f'<circle class="{kind}" cx="{at(mean)}" cy="{y}" r="3.5"/></svg>'
    )
    numbers = f"{unit * mean:+.{digits}f} ± {unit * half:.{digits}f}"
    return mean, f"{drawing} {numbers}"


def _widest(rows: list[Mapping[str, Any]], measure: str) -> float:
    """What the drawings reach to: nine of ten intervals fit, the others are cut."""
    ends = sorted(
        abs(row[measure]["mean_at_look"]) + row[measure]["half_width"]
        for row in rows
        if row[measure] and row[measure]["half_width"] is not None
    )
    return ends[int(0.9 * (len(ends) - 1))] or 1.0 if ends else 1.0


def _order(row: Mapping[str, Any]) -> float:
    for measure, good in (("accuracy", 1), ("loss", -1)):
        if row[measure]:
            return float(good * row[measure]["mean_at_look"])
    return float("-inf")


def _base(summary: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(str(x))}</td>' for x in row)}</tr>"
        for row in summary["setup"]
    )
    names = "<th>slot</th><th>trick</th><th>numbers</th>"
    heads = f"<thead><tr>{names}</tr></thead>"
    return f'<div class="scroll"><table class="setup">{heads}{rows}</table></div>'


def _refused(refused: Mapping[str, str]) -> str:
    if not refused:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(why)}</td></tr>"
        for name, why in refused.items()
    )
    return f'<h2>Left out</h2><div class="scroll"><table>{rows}</table></div>'


def _environments(environments: list[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(str(x.get('command')))}</code></td>"
        f"<td>{escape(', '.join(map(str, x.get('devices', ()))))}</td>"
        f"<td>jax {escape(str(x.get('jax')))}, optix_tricks"
        f" {escape(str(x.get('optix_tricks')))}"
        f" {escape(str(x.get('commit') or '')[:10])}</td></tr>"
        for x in environments
    )
    return f'<div class="scroll"><table class="narrow">{rows}</table></div>'
