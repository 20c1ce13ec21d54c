"""A progress bar on a terminal, a line an epoch everywhere."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress:
    """Shows where a run is: a bar within it, and a printed row for each epoch."""

    def __init__(self, epochs: int | float, steps: int, batch_size: int):
        self.epochs, self.steps, self.batch_size = epochs, steps, batch_size
        self.console = Console()
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
        """Start the bar and print the head of the rows."""
        self.console.print(
            f"{'epoch':>7} {'train loss':>11} {'accuracy':>9} {'test loss':>10} "
            f"{'accuracy':>9} {'seconds':>8}",
            style="bold",
        )
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
                rate=f"{rate:,.0f} images/s",
            )

        return update

    def end_epoch(
        self, epoch: int, rows: list[dict[str, Any]], test: dict[str, Any]
    ) -> None:
        """Print an epoch's means."""
        loss = np.mean([row["loss"] for row in rows])
        accuracy = np.mean([row["accuracy"] for row in rows])
        self.console.print(
            f"{epoch + 1:>7} {loss:>11.4f} {accuracy:>9.2%} {test['loss']:>10.4f} "
            f"{test['accuracy']:>9.2%} {test['seconds']:>8.1f}",
            highlight=False,
        )
