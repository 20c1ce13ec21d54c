"""`optix-tricks lr-find`."""

import dataclasses
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from optix_tricks.cli._options import RunOptions, UsageError, folded, new_path


@dataclasses.dataclass(frozen=True)
class RangeOptions(RunOptions):
    """Which rates to test, and where the curve goes."""

    run_dir: Path | None = None
    """the curve's directory; runs/lr-find-RECIPE-TIME if not given"""
    min_rate: float = 1e-5
    """the rate of the first step, in the unit of the recipe's own"""
    max_rate: float = 10.0
    """that of the last step"""
    steps: int = 100
    """of each seed"""
    seeds: int = 3
    """runs from other initial weights over other batches, for the error bars"""


def lr_find(arguments: list[str]) -> None:
    """Run a range test on a recipe, and print what it suggests."""
    from optix_tricks.cli._settings import settings_of

    settings, options = settings_of("lr-find", arguments, RangeOptions)
    from optix_tricks.studies import find_learning_rate, write_learning_rate_study
    from optix_tricks.studies._learning_rate import advice
    from optix_tricks.training import RunDirectory
    from optix_tricks.training._run_directory import check_new
    from optix_tricks.tricks._chain import peak_of

    name = settings.recipe.name
    path = options.run_dir or new_path(name, study="lr-find")
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
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
    peak: Any = peak_of(settings.setup)
    said = advice(study.suggestions, float(peak))
    with RunDirectory.start(path, recipe=name, config=settings.as_json()) as run:
        title = f"{name} on {dataset.name}"
        write_learning_rate_study(study, run, title=title, said=said)
    table = Table("rule", "learning rate", "within a factor of")
    for rule, found in study.suggestions._asdict().items():
        rate = f"[bold]{found.rate:.2g}" if not found.reason else "undecided"
        within = f"{10**found.standard_error:.2f}" if options.seeds > 1 else "one seed"
        table.add_row(rule, rate, found.reason or within)
    table.add_row("the recipe's own", f"{peak:g}")
    console.print(table)
    console.print(folded(said), highlight=False)
    lines = [f"page   {path / 'report.html'}", f"curve  {path / 'range_test.json'}"]
    if number := _flag(settings.setup, study.suggestions.steepest):
        lines.append(f"train  optix-tricks train --config {quote(str(path))} {number}")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _flag(setup: Any, steepest: Any) -> str:
    """The flag that sets the rate, where the test and the optimiser have one."""
    optimizer = setup.filled()["optimizer"][-1]
    if steepest.reason or optimizer.peak is None:
        return ""
    number = f"{optimizer.name}.{optimizer.peak}".replace("_", "-")
    return f"--{number} {steepest.rate:.2g}"
