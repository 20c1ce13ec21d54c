"""`optix-tricks sweep`."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from optix_tricks.cli._ledger import Bars, keep, resumed
from optix_tricks.cli._options import RunOptions, UsageError, new_path

VALUES = re.compile(r"[-+]?\.?\d[-+\d.e]*[,:].*", re.IGNORECASE)
SHOWN = 12  # combinations, the best


@dataclasses.dataclass(frozen=True)
class SweepOptions(RunOptions):
    """How often, and how long."""

    run_dir: Path | None = None
    """the sweep's directory, old or new; runs/sweep-RECIPE-TIME if not given"""
    seeds: int = 3
    """trainings of each combination, with the same seeds"""
    budget: float = math.inf
    """minutes after which no training begins"""
    members: Literal["auto", "alone", "together"] = "auto"
    """how seeds are trained: each alone, or together, stacked where that measures faster;
    auto is together on accelerators"""


def sweep(arguments: list[str]) -> None:
    """Train a recipe at every combination of some numbers, and say which is best."""
    from optix_tricks.cli._settings import settings_of

    arguments = resumed("sweep", arguments)
    texts, rest = _axes(arguments)
    base, options = settings_of("sweep", rest, SweepOptions)
    from optix_tricks.ledger import axis, best_point, grid, measure_grid
    from optix_tricks.reports import write_sweep

    if not texts and not {"--help", "-h"} & {*rest}:
        raise UsageError(
            "sweep needs a number with several values: --learning-rate 0.01:1:log:5, or"
            " --weight-decay 1e-4,5e-4."
        )
    if not base.validation:
        base = dataclasses.replace(base, validation=0.1)
    if options.seeds < 1:
        raise UsageError(f"--seeds must be 1 or more, got {options.seeds}.")
    path = options.run_dir or new_path(base.recipe.name, study="sweep")
    console = Console()
    try:
        axes = [axis(name, text) for name, text in texts.items()]
        points = grid(base, axes)
        dataset = base.load()
        console.print(
            f"{base.recipe.name} on {dataset.name}: {len(points)} combinations,"
            f" {options.seeds} seeds; {dataset.validation.size:,} validation examples"
            f" choose; ledger {path}",
            highlight=False,
        )
        with Bars(console) as bars:
            keep(arguments, path)
            found = measure_grid(
                points,
                dataset,
                path=path,
                seeds=options.seeds,
                budget=60 * options.budget,
                members=options.members,
                on_run=bars.on_run,
            )
    except ValueError as error:
        raise UsageError(str(error)) from error
    except KeyboardInterrupt as stop:
        stop.args = (f"; go on with: optix-tricks sweep --resume {path}",)
        raise
    counts = "validation_accuracy" in found
    by = "validation_accuracy" if counts else "validation_loss"
    if by not in found or np.isnan(found[by]).any(axis=1).all():
        raise RuntimeError(
            f"no combination has {options.seeds} seeds that did not diverge: go on with"
            f" --resume {path}, or take smaller numbers."
        )
    best = best_point(found[by], highest=counts)
    figure = write_sweep(
        path,
        title=f"{base.recipe.name} on {dataset.name}",
        axes={each.name: each.values for each in axes},
        results=found,
        chosen_by=by,
        share=best.share.tolist(),
    )
    names = [each.name for each in axes]
    console.print(_table(names, [point.values for point in points], found, by, best))
    console.print(f"figure {figure}", highlight=False, soft_wrap=True)
    console.print(f"data   {path / 'sweep.json'}", highlight=False, soft_wrap=True)


def _axes(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """The flags with several values, and all other words."""
    axes: dict[str, str] = {}
    rest: list[str] = []
    words = [*arguments]
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        if not equals and words:
            value = words[0]
        is_number = flag.startswith("--") and VALUES.fullmatch(value)
        if is_number and flag not in ("--with", "--without"):
            axes[flag.removeprefix("--").replace("-", "_")] = value
            words = words if equals else words[1:]
        else:
            rest.append(word)
    return axes, rest


def _table(
    names: list[str],
    points: list[tuple[float, ...]],
    found: dict[str, np.ndarray],
    by: str,
    best: Any,
) -> Table:
    sign, unit = (1, 100) if by.endswith("accuracy") else (-1, 1)
    means = np.nan_to_num(sign * found[by].mean(axis=1), nan=-np.inf)
    shown = {name.replace("_", " "): found[name] for name in (by, _tested(by))}
    table = Table(*names, *shown, "best in")
    for i in np.argsort(-means, kind="stable")[:SHOWN]:
        style = "bold" if i == best.point else None
        cells = [f"{x:g}" for x in points[i]]
        cells += [_mean(x[i], unit) for x in shown.values()]
        table.add_row(*cells, f"{100 * best.share[i]:.0f} %", style=style)
    seeds = found[by].shape[1]
    table.caption = (
        f"Means of {seeds} seeds and their standard errors. Best in: of bootstrap samples"
        f" of the seeds, the share in which the combination has the best"
        f" {by.replace('_', ' ')}."
    )
    return table


def _tested(by: str) -> str:
    return by.replace("validation", "test")


def _mean(x: np.ndarray, unit: int | float) -> str:
    if np.isnan(x).any():
        return f"{np.isnan(x).sum()} of {len(x)} missing"
    digits = 2 if unit == 100 else 4
    error = x.std(ddof=1) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    return f"{unit * x.mean():.{digits}f} ± {unit * error:.{digits}f}"
