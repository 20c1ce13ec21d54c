"""The page's tables and headline numbers, as escaped HTML."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from optix_tricks.reports._curves import extra_columns
from optix_tricks.reports._read import Columns, Run

_NOTHING = "–"
_HEADLINE = ("test_accuracy", "test_loss", "seconds", "parameters", "epochs")


def headline(run: Run) -> str:
    """The headline's numbers as a list of definitions."""
    return "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(text)}</dd></div>"
        for label, text in headline_numbers(run).items()
    )


def headline_numbers(run: Run) -> dict[str, str]:
    """Accuracy, loss, time, parameters, epochs; an unfinished run's from its rows."""
    result = _so_far(run) if run.result is None else run.result
    return {
        "test accuracy": _percent(result.get("test_accuracy")),
        "test loss": _loss(result.get("test_loss")),
        "time": _duration(result.get("seconds")),
        "parameters": number(result.get("parameters")),
        "epochs": number(result.get("epochs")),
    }


def epoch_table(run: Run) -> str:
    """One row per test: the train rows since the test before it, averaged.

    Train rows after the last test make a last row without test numbers. The learning
    rate is the one of the last train row that counts. What was validated at the step of a
    test stands beside it, in a run that has a split.
    """
    step, test = run.train["step"], run.test
    ends = [int(end) for end in test["step"]]
    if step.size and (not ends or step[-1] > ends[-1]):
        ends.append(int(step[-1]))
    kinds = ["train", *(["validation"] if run.validation["step"].size else []), "test"]
    rows = []
    for index, (start, end) in enumerate(zip([-1, *ends], ends, strict=False)):
        of_epoch = np.flatnonzero((step > start) & (step <= end))
        is_tested = index < test["step"].size
        validated = np.flatnonzero(run.validation["step"] == end)
        of_kind: dict[str, tuple[Columns, Any]] = {
            "train": (run.train, of_epoch),
            "validation": (run.validation, validated),
            "test": (test, [index] if is_tested else []),
        }
        source, row = of_kind["test"] if is_tested else (run.train, of_epoch[-1:])
        cells = [number(_mean(source, "epoch", row))]
        for kind in kinds:
            columns, places = of_kind[kind]
            cells.append(_loss(_mean(columns, "loss", places)))
            cells.append(_percent(_mean(columns, "accuracy", places)))
        cells.append(number(_mean(run.train, "learning_rate", of_epoch[-1:])))
        cells.append(_seconds(_mean(test, "seconds", of_kind["test"][1])))
        rows.append(cells)
    heads = [f"{kind} {number}" for kind in kinds for number in ("loss", "accuracy")]
    return table(("epoch", *heads, "learning rate", "seconds"), rows, "numbers")


def extras_table(run: Run) -> str:
    """Last, smallest, middle and largest value of each further train column."""
    rows = []
    for name in extra_columns(run):
        values = run.train[name]
        finite = values[np.isfinite(values)]
        if not finite.size:
            rows.append((name, *[_NOTHING] * 4, "0"))
            continue
        numbers = (finite[-1], finite.min(), np.median(finite), finite.max())
        rows.append((name, *map(number, numbers), number(finite.size)))
    heads = ("train column", "last", "smallest", "median", "largest", "finite rows")
    return table(heads, rows, "numbers")


def further_results(run: Run) -> dict[str, Any]:
    """What the result holds beyond the headline."""
    return {k: v for k, v in (run.result or {}).items() if k not in _HEADLINE}


def settings_table(settings: Mapping[str, Any]) -> str:
    """Names and values; a nested name is joined by dots."""
    return table(("name", "value"), flatten(settings), "settings")


def _so_far(run: Run) -> dict[str, Any]:
    last = {name: column[-1].item() for name, column in run.test.items() if column.size}
    return {
        "test_accuracy": last.get("accuracy"),
        "test_loss": last.get("loss"),
        "seconds": last.get("seconds"),
        "epochs": last.get("epoch"),
    }


def _mean(columns: Columns, name: str, rows: Sequence[int] | np.ndarray) -> float:
    values = columns[name][rows] if name in columns else np.empty(0)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else math.nan


def flatten(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values but for the tricks, a nested name joined by dots."""
    rows = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            rows += flatten(value, f"{prefix}{name}.")
        elif name == "tricks":
            continue  # which have a table of their own
        elif isinstance(value, list | tuple):
            rows.append((f"{prefix}{name}", ", ".join(map(str, value))))
        else:
            rows.append((f"{prefix}{name}", str(value)))
    return rows


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], kind: str) -> str:
    """A table of texts, in a box that scrolls sideways."""

    def line(tag: str, cells: Iterable[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

    body = "\n".join(line("td", row) for row in rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead>{line("th", heads)}</thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(value)


def number(value: Any) -> str:
    """Five digits; whole numbers in full.

    >>> [number(x) for x in (272_474, 30.0, 0.123456, 3e-07, None)]
    ['272,474', '30', '0.12346', '3e-07', '–']
    """
    if not _is_finite(value):
        return _NOTHING
    return f"{value:,.0f}" if value == int(value) else f"{value:.5g}"


def _loss(value: Any) -> str:
    """Four decimals, so that a column lines up, unless they would lose the number."""
    if not _is_finite(value):
        return _NOTHING
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.3e}"


def _seconds(value: Any) -> str:
    return f"{value:,.1f}" if _is_finite(value) else _NOTHING


def _percent(value: Any) -> str:
    return f"{100 * value:.2f} %" if _is_finite(value) else _NOTHING


def _duration(seconds: Any) -> str:
    """Seconds in the units one would say.

    >>> [_duration(s) for s in (4.21, 192, 7_500)]
    ['4.2 s', '3 min 12 s', '2 h 5 min']
    """
    if not _is_finite(seconds):
        return _NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
