"""The numbers that a page's script draws: the curves of one run, or of several."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from optix_tricks.reports._curves import (
    LOG_FLOOR,
    changes,
    column,
    extra_columns,
    norms_of,
    wants_log,
)
from optix_tricks.reports._layers import tended_to
from optix_tricks.reports._read import Columns, Run

MOST_ROWS = 1_600  # of a curve in full; of more, each stretch's mean, least and largest
_STRETCHES = 800
_DIGITS = 5
_EXTRAS = 8
AXES = {"step": "step", "epoch": "epoch", "seconds": "seconds of training"}
STYLES = ("uplot/uPlot.min.css", "page.css")
SCRIPTS = ("uplot/uPlot.iife.min.js", "charts.js")

Line = dict[str, Any]


def run_charts(run: Run) -> dict[str, Any]:
    """Loss, accuracy, learning rate, norms and what else changes, over the rows of a run.

    Returns:
        `rows`, the axes of each kind of rows; `axes`, those that all have; `charts`,
        whose lines say which rows are theirs.
    """
    kinds = {"train": run.train, "validation": run.validation, "test": run.test}
    rows = [_axes(run, columns) for columns in kinds.values()]
    colors = dict(zip(kinds, (0, 2, 1), strict=True))

    def lines(name: str, unit: int | float = 1) -> list[Line]:
        return [
            _line(kind, place, unit * column(columns, name), colors[kind])
            for place, (kind, columns) in enumerate(kinds.items())
        ]

    def alone(name: str, *, smooth: bool = True) -> list[Line]:
        values = column(run.train, name)
        return [_line(name.replace("_", " "), 0, values, 0, smooth=smooth)]

    norms = norms_of(run)
    floor = _floor(norms["update/parameter"])
    of_norms = [
        _line(name, 0, norm, color)
        for (name, norm), color in zip(norms.items(), (2, 0, 1, 3), strict=True)
    ]
    of_norms.append(_line("equilibrium", 0, tended_to(run), 5, smooth=False))
    extras = [name for name in extra_columns(run) if changes(run.train[name])]
    charts = [
        _chart("Loss", lines("loss"), log=wants_log(run)),
        _chart("Accuracy, %", lines("accuracy", 100.0)),
        _chart("Learning rate", alone("learning_rate", smooth=False)),
        _chart("Norms", of_norms, log=True, floor=floor),
        *(_chart(_spoken(name), alone(name)) for name in extras[:_EXTRAS]),
    ]
    return _data(rows, charts)


def comparison_charts(runs: Sequence[Run], names: Sequence[str]) -> dict[str, Any]:
    """One chart a quantity, a line a run."""
    rows: list[dict[str, Any]] = []
    charts: list[dict[str, Any]] = []
    for kind, names_of in (
        ("test", ("loss", "accuracy")),
        ("validation", ("loss", "accuracy")),
        ("train", ("loss", "accuracy", "learning_rate", "gradient_norm", "update_norm")),
    ):
        first = len(rows)
        rows += [_axes(run, getattr(run, kind)) for run in runs]
        for name in names_of:
            unit = 100.0 if name == "accuracy" else 1.0
            lines = [
                _line(
                    label,
                    first + i,
                    unit * column(getattr(run, kind), name),
                    i,
                    smooth=name != "learning_rate",
                )
                for i, (run, label) in enumerate(zip(runs, names, strict=True))
            ]
            title = f"{kind} {name.replace('_', ' ')}" + ", %" * (name == "accuracy")
            is_log = name.endswith("norm") or (
                name == "loss" and any(map(wants_log, runs))
            )
            charts.append(_chart(title.capitalize(), lines, log=is_log))
    return _data(rows, charts)


def _data(rows: list[dict[str, Any]], charts: list[dict[str, Any]]) -> dict[str, Any]:
    """What there is to be drawn, over the axes that all rows have."""
    filled = [each for each in rows if each["step"]]
    axes = [name for name in AXES if all(each[name] for each in filled)]
    kept = [chart for chart in charts if chart["lines"]]
    return {"axes": axes, "rows": rows, "charts": kept}


def _chart(
    title: str, lines: list[Line], *, log: bool = False, floor: int | float | None = None
) -> dict[str, Any]:
    seen = [line for line in lines if any(y is not None for y in line["values"])]
    return {"title": title, "lines": seen, "log": log, "floor": floor}


def _line(
    label: str, rows: int, values: np.ndarray, color: int, *, smooth: bool = True
) -> Line:
    line = {"label": label, "rows": rows, "color": color, "smooth": smooth}
    if values.size <= MOST_ROWS:
        return line | {"values": _plain(values)}
    parts = [part[np.isfinite(part)] for part in np.array_split(values, _STRETCHES)]

    def each(of: Any) -> np.ndarray:
        return np.array([of(part) if part.size else np.nan for part in parts])

    named = {"values": np.mean, "low": np.min, "high": np.max}
    return line | {name: _plain(each(of)) for name, of in named.items()}


def _axes(run: Run, columns: Columns) -> dict[str, list[Any]]:
    """The places of rows on each axis; empty where not all have one, or they fall."""
    step = columns["step"]
    axes = {
        "step": step,
        "epoch": column(columns, "epoch"),
        "seconds": _seconds(run, step),
    }
    places = {}
    for name, x in axes.items():
        ok = np.isfinite(x).all() and (np.diff(x) > 0).all()
        if x.size > MOST_ROWS:
            x = np.array([part[part.size // 2] for part in np.array_split(x, _STRETCHES)])
        places[name] = [_rounded(value, 8) for value in x] if ok else []
    return places


def _seconds(run: Run, step: np.ndarray) -> np.ndarray:
    """Training time at these steps, evenly spread between the tests, which know it."""
    at, seconds = run.test["step"], column(run.test, "seconds")
    at, seconds = at[np.isfinite(seconds)], seconds[np.isfinite(seconds)]
    if not at.size or (np.diff(seconds) <= 0).any():
        return np.full(step.shape, np.nan)
    at, seconds = np.append(0, at), np.append(0.0, seconds)
    pace = (seconds[-1] - seconds[-2]) / (at[-1] - at[-2])
    after = np.maximum(step - at[-1], 0) * pace
    return np.interp(step, at, seconds) + after


def _floor(ratio: np.ndarray) -> int | float | None:
    seen = ratio[np.isfinite(ratio)]
    return _rounded(LOG_FLOOR * np.median(seen), _DIGITS) if seen.size else None


def _plain(values: np.ndarray) -> list[int | float | None]:
    return [_rounded(y, _DIGITS) if np.isfinite(y) else None for y in values]


def _rounded(value: Any, digits: int) -> Any:
    number = float(f"{value:.{digits}g}")
    return int(number) if number.is_integer() else number


def _spoken(name: str) -> str:
    spoken = name.replace("_", " ")
    return spoken[:1].upper() + spoken[1:]
