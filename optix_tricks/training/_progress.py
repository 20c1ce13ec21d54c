"""A progress bar on a terminal, a line an epoch everywhere."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from optix_tricks.training._metrics import written

OF_A_ROW = ("kind", "step", "epoch", "loss", "seconds")  # and no metric


class Progress:
    """Shows where a run is: a bar within it, and a printed row for each epoch."""

    def __init__(self, epochs: int | float, steps: int, batch_size: int):
        self.epochs, self.steps, self.batch_size = epochs, steps, batch_size
        self.console = Console()
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
        self.task = self.bars.add_task(
            "",
            total=round(self.epochs * self.steps),
            epoch=1,
            epochs=self.epochs,
            rate="",
        )
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar away."""
        self.bars.stop()

    def on_step(self, epoch: int) -> Callable[[int], None]:
        """Return what to call after step i of an epoch."""
        start = time.perf_counter()

        def update(i: int) -> None:
            rate = (i + 1) * self.batch_size / (time.perf_counter() - start)
            self.bars.update(
                self.task,
                completed=epoch * self.steps + i + 1,
                epoch=epoch + 1,
                rate=f"{rate:,.0f} examples/s",
            )

        return update

    def end_epoch(
        self, epoch: int, rows: list[dict[str, Any]], test: dict[str, Any]
    ) -> None:
        """Print an epoch's loss and its first metric, in training and in the test."""
        metric = next((name for name in test if name not in OF_A_ROW), None)
        if not self._has_head:
            cells = "train loss", metric or "", "test loss", metric or ""
            self._print("epoch", *cells, "seconds", style="bold")
        loss = np.mean([row["loss"] for row in rows])
        of_train = of_test = ""
        if metric:
            of_train = written(metric, np.mean([row[metric] for row in rows]))
            of_test = written(metric, test[metric])
        self._print(
            f"{epoch + 1}",
            f"{loss:.4f}",
            of_train,
            f"{test['loss']:.4f}",
            of_test,
            f"{test['seconds']:.1f}",
        )

    def _print(self, *cells: str, style: str | None = None) -> None:
        self._has_head = True
        widths = 7, 11, max(len(cells[2]), 9), 10, max(len(cells[4]), 9), 8
        line = " ".join(f"{x:>{n}}" for x, n in zip(cells, widths, strict=True))
        self.console.print(line, style=style, highlight=False)
