"""A progress bar on a terminal, a line an epoch everywhere."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from optix_tricks.training._metrics import written

QUIET = Console(quiet=True)
OF_A_ROW = ("kind", "step", "epoch", "loss", "seconds")  # and no metric


class Progress:
    """Shows where a run is: a bar within it, and a printed row for each epoch."""

    def __init__(
        self,
        epochs: int | float,
        steps: int,
        batch_size: int,
        console: Console | None = None,
    ):
        self.epochs, self.steps, self.batch_size = epochs, steps, batch_size
        self.console = console or Console()
        self._has_head = False
        self.bars = Bars(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )

    def __enter__(self) -> "Progress":
        """Start the bar."""
        self.bars.start()
        self.total = round(self.epochs * self.steps)
        self.task = self.bars.add_task(
            "", total=self.total, epoch=1, epochs=self.epochs, rate=""
        )
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar away."""
        self.bars.stop()

    def on_begin(self, done: int, of: int) -> None:
        """Show how far is what comes before the first epoch."""
        self.bars.update(self.task, completed=done, total=of, epoch=0)

    def on_step(self, epoch: int, first: int = 0) -> Callable[[int], None]:
        """Return what to call after step i of those of an epoch from `first` on."""
        start = time.perf_counter()

        def update(i: int) -> None:
            rate = (i + 1) * self.batch_size / (time.perf_counter() - start)
            self.bars.update(
                self.task,
                completed=epoch * self.steps + first + i + 1,
                total=self.total,
                epoch=epoch + 1,
                rate=f"{rate:,.0f} examples/s",
            )

        return update

    def end_epoch(
        self,
        epoch: int,
        rows: Sequence[dict[str, Any]],
        test: dict[str, Any],
        validation: dict[str, Any] | None = None,
    ) -> None:
        """Print an epoch's loss and its first metric, in training and in each test."""
        metric = next((name for name in test if name not in OF_A_ROW), None)
        names = ["loss", *([metric] if metric else [])]
        train = {name: np.mean([row[name] for row in rows]) for name in names}
        seen = {"train": train, "val": validation, "test": test}
        head, cells = ["epoch"], [f"{epoch + 1}"]
        for name, row in seen.items():
            if row is not None:
                head += [f"{name} loss", *([metric] if metric else [])]
                cells += [f"{row['loss']:.4f}"]
                cells += [written(metric, row[metric])] if metric else []
        head, cells = [*head, "seconds"], [*cells, f"{test['seconds']:.1f}"]
        lines = [cells] if self._has_head else [head, cells]
        for line in lines:
            text = " ".join(
                f"{x:>{max(len(h), 7)}}" for x, h in zip(line, head, strict=True)
            )
            style = "bold" if line is head else None
            self.console.print(text, style=style, highlight=False)
        self._has_head = True
