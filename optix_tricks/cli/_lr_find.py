"""`optix-tricks lr-find`."""

import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from optix_tricks.cli._options import (
    RunOptions,
    UsageError,
    new_path,
    parse,
    recipe_of,
)


@dataclasses.dataclass(frozen=True)
class RangeOptions(RunOptions):
    """Which rates to test, and where the curve goes."""

    run_dir: Path | None = None
    """the curve's directory; runs/lr-find-RECIPE-TIME if not given"""
    min_rate: float = 1e-5
    """the rate of the first step, in the unit of --learning-rate"""
    max_rate: float = 10.0
    """that of the last step"""
    steps: int = 100
    """of each seed"""
    seeds: int = 3
    """runs from other initial weights over other batches, for the error bars"""


def lr_find(arguments: list[str]) -> None:
    """Run a range test on a recipe, and print what it suggests."""
    from optix_tricks.studies import find_learning_rate, write_learning_rate_study
    from optix_tricks.training import RunDirectory
    from optix_tricks.training._run_directory import check_new

    name, settings, options, own_rate = _asked(arguments)
    stem = Path(name).stem if name.endswith(".py") else name
    path = options.run_dir or new_path(f"lr-find-{stem}")
    check_new(path)
    dataset = settings.load()
    console = Console()
    console.print(
        f"{name} on {dataset.name}: {options.steps} rates from {options.min_rate:g} to "
        f"{options.max_rate:g}, {options.seeds} seeds",
        highlight=False,
    )
    with Progress(console=console, transient=True) as bars:
        bar = bars.add_task("", total=options.seeds * options.steps)

        def on_step(seed: int, step: int) -> None:
            bars.update(bar, description=f"seed {seed + 1}/{options.seeds}", advance=1)

        try:
            study = find_learning_rate(
                settings,
                dataset,
                min_rate=options.min_rate,
                max_rate=options.max_rate,
                steps=options.steps,
                seeds=options.seeds,
                on_step=on_step,
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
    with RunDirectory.start(path, recipe=name, config=settings.as_json()) as run:
        write_learning_rate_study(study, run, title=f"{name} on {dataset.name}")
    table = Table("rule", "learning rate", "within a factor of")
    for rule, found in study.suggestions._asdict().items():
        rate = f"[bold]{found.rate:.2g}" if not found.reason else "undecided"
        table.add_row(rule, rate, found.reason or f"{10**found.standard_error:.2f}")
    table.add_row("the recipe's own", f"{own_rate:g}")
    console.print(table)
    console.print(f"curve  {path / 'range_test.json'}", highlight=False)
    console.print(f"figure {path / 'figures' / 'range_test.png'}", highlight=False)


def _asked(arguments: list[str]) -> tuple[str, Any, RangeOptions, float]:
    """The recipe, its settings, the range, and the rate that is the recipe's own."""
    from optix_tricks.recipes import PackagedRun
    from optix_tricks.recipes._own import is_own, load_own

    if arguments and is_own(arguments[0]):
        from optix_tricks.cli._own import own_run

        name, *flags = arguments
        own, options = own_run("lr-find", load_own(name), flags, RangeOptions)
        optimizer = own.setup.filled()["optimizer"][-1:]
        numbers = dict(optimizer[0].numbers) if optimizer else {}
        return name, own, options, numbers.get("learning_rate", float("nan"))
    name, recipe, flags = recipe_of("lr-find", arguments)
    config, options = parse("lr-find", name, recipe, flags, RangeOptions)
    return name, PackagedRun(recipe, config), options, config.learning_rate
