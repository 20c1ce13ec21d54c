"""`optix-tricks ablate`."""

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from optix_tricks.cli._compilation_cache import compiling_anew
from optix_tricks.cli._ledger import Bars, keep, resumed
from optix_tricks.cli._options import RunOptions, UsageError, new_path


@dataclasses.dataclass(frozen=True)
class AblationOptions(RunOptions):
    """Which tricks are compared with the recipe as it is, and how long."""

    run_dir: Path | None = None
    """the ledger's directory, old or new; runs/ablate-RECIPE-TIME if not given"""
    tricks: str | None = None
    """NAME,NAME=NUMBER,...: added where the recipe lacks them, else taken away. If not
    given, each of the recipe's"""
    add: bool = False
    """only what is added; without --tricks, all that the recipe lacks and can take"""
    remove: bool = False
    """only what is taken away"""
    both: bool = False
    """--add and --remove"""
    seeds: int = 10
    """pairs of trainings for a trick, at the most"""
    resolution: float = 0.005
    """half-width of the interval, a share of the test examples, that is narrow enough"""
    budget: float = math.inf
    """minutes after which no training begins"""
    members: Literal["auto", "alone", "together"] = "auto"
    """how seeds are trained: each alone, or together, stacked where that measures faster;
    auto is together on accelerators"""
    tune: str | None = None
    """a number, such as learning-rate, of which each side first gets its own best"""
    values: int = 3
    """how many of that are tried, a factor of two apart"""
    costs: bool = True
    """time steps and compilations and count memory once the effects are measured"""


def ablate(arguments: list[str]) -> None:
    """Measure what each trick buys, against the same recipe with or without it."""
    from optix_tricks.cli._settings import settings_of

    arguments = resumed("ablate", arguments)
    base, options = settings_of("ablate", arguments, AblationOptions)
    from optix_tricks.ledger import (
        choose,
        measure_costs,
        measure_effects,
        tuned,
        write_summary,
    )
    from optix_tricks.reports import write_ledger

    if options.seeds < 2:
        raise UsageError(f"--seeds must be 2 or more, got {options.seeds}.")
    path = options.run_dir or new_path(base.recipe.name, study="ablate")
    names = None if options.tricks is None else options.tricks.split(",")
    add, remove = options.add or options.both, options.remove or options.both
    how = {"seeds": options.seeds, "resolution": options.resolution}
    console = Console()
    try:
        dataset = base.load()
        arms, refused = choose(base, dataset, names, add=add, remove=remove)
        console.print(_head(base, dataset, arms, refused, path), highlight=False)
        with Bars(console) as bars:
            keep(arguments, path)
            if options.tune:
                base, arms = tuned(
                    base,
                    arms,
                    dataset,
                    path=path,
                    name=options.tune.replace("-", "_"),
                    values=options.values,
                    on_run=bars.on_run,
                )
            table = measure_effects(
                base,
                arms,
                dataset,
                path=path,
                budget=60 * options.budget,
                members=options.members,
                on_run=bars.on_run,
                **how,
            )
            done = [arm for arm, row in zip(arms, table, strict=True) if row.seeds]
            if options.costs:
                with compiling_anew():
                    measure_costs(base, done, dataset, path=path, on_arm=bars.on_arm)
                table = measure_effects(base, arms, dataset, path=path, budget=0.0, **how)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except KeyboardInterrupt as stop:
        stop.args = (f"; go on with: optix-tricks ablate --resume {path}",)
        raise
    summary = write_summary(path, base, table, dataset, refused=refused, **how)
    page = write_ledger(path)
    console.print(_table(summary["rows"]))
    console.print(f"page {page}", highlight=False, soft_wrap=True)


def _head(
    base: Any, dataset: Any, arms: list[Any], refused: dict[str, str], path: Path
) -> str:
    if not arms:
        raise ValueError("there is no trick to compare with: name some by --tricks.")
    said = f"{base.recipe.name} on {dataset.name}, {len(arms)} comparisons; ledger {path}"
    if refused:
        said += f"\n{len(refused)} tricks need more than their name: {', '.join(refused)}"
    return said


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("trick", "accuracy, points", "loss", "n", "step", "verdict")
    for row in sorted(rows, key=lambda row: -_size(row)):
        cost = row["cost"]
        table.add_row(
            f"[bold]{row['name']}",
            _interval(row["accuracy"], 100),
            _interval(row["loss"], 1),
            str(row["seeds"]),
            f"{cost['step_ratio']:.2f}x" if cost else "",
            row["verdict"] + ("" if row["p_corrected"] > 0.05 else " *"),
        )
    table.caption = (
        "With the trick less without it, and 95 % paired t intervals; * also after"
        " correction for the number of rows (Holm)."
    )
    return table


def _size(row: dict[str, Any]) -> float:
    if row["accuracy"]:
        return float(row["accuracy"]["mean"])
    return -float(row["loss"]["mean"]) if row["loss"] else -math.inf


def _interval(effect: dict[str, Any] | None, unit: int | float) -> str:
    if not effect:
        return "-"
    digits = 2 if unit == 100 else 3
    if not effect["looked"] or effect["half_width"] is None:
        return f"{unit * effect['mean']:+.{digits}f}, no interval yet"
    mean, half = unit * effect["mean_at_look"], unit * effect["half_width"]
    return f"{mean:+.{digits}f} ± {half:.{digits}f}"
