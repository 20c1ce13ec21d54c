"""`optix-tricks evaluate`."""

import dataclasses
from typing import Any

from rich.console import Console
from rich.table import Table

from optix_tricks.cli._options import parsed
from optix_tricks.cli._positional import Run


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """What to test, and on what."""

    run: Run
    """a run's directory, with a checkpoint"""
    dataset: str | None = None
    """whose test split is taken; the run's own if not given"""
    data_dir: str | None = None
    """where the data are, if not where they were"""
    checkpoint: str = "newest"
    """newest; best, of a run with --keep-best; or the number of an epoch"""
    debug: bool = False
    """show the traceback of an error"""


def evaluate(arguments: list[str]) -> None:
    """Test a run as it was tested at its end: its average, its views."""
    options = parsed(EvaluateOptions, "evaluate", evaluate.__doc__, arguments)
    from optix_tricks.runs import load_run
    from optix_tricks.training import load_dataset

    run = load_run(options.run, data_dir=options.data_dir, checkpoint=options.checkpoint)
    name = options.dataset
    of_data: Any = {"data_dir": options.data_dir, **_size_of(run.dataset)}
    other = None if name is None else load_dataset(name, **of_data)
    table = of_test(run.evaluate(other))
    table.add_row("data set", run.dataset.name if other is None else other.name)
    table.add_row("epochs", str(run.epoch))
    Console().print(table)


def _size_of(dataset: Any) -> dict[str, int]:
    """That of the images that a run was trained on, if they are images."""
    shape: Any = getattr(dataset.train.inputs, "shape", ())
    return {"image_size": shape[1]} if len(shape) == 4 else {}


def of_test(test: Any) -> Table:
    """Return a table of metrics and loss."""
    from optix_tricks.training._metrics import written

    table = Table(show_header=False)
    for name, value in test.metrics.items():
        table.add_row(f"test {name.replace('_', ' ')}", f"[bold]{written(name, value)}")
    table.add_row("test loss", f"{test.loss:.4f} of {test.size:,} examples")
    return table
