"""What `ablate` and `sweep` share: how to go on, and how far they are."""

import math
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from optix_tricks.cli._options import UsageError

ARGUMENTS = "arguments.txt"  # of the command, with which --resume gives it again


def resumed(command: str, arguments: list[str]) -> list[str]:
    """Return the arguments of the ledger that --resume names, or these."""
    if "--resume" not in arguments:
        return arguments
    match [argument for argument in arguments if argument != "--debug"]:
        case ["--resume", path]:
            pass
        case _:
            raise UsageError(
                "--resume DIR stands alone, with the arguments that the ledger began"
                " with: for others give --run-dir DIR; what is there is not measured"
                " again."
            )
    try:
        earlier = shlex.split((Path(path) / ARGUMENTS).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--resume {path} is no ledger: its {ARGUMENTS} cannot be read."
        ) from error
    return [*earlier, f"--run-dir={path}"]


def keep(arguments: list[str], path: Path) -> None:
    """Write the arguments into the ledger's directory."""
    from optix_tricks.training._run_directory import explained

    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
        (path / ARGUMENTS).write_text(shlex.join(arguments) + "\n")


class Bars:
    """How many trainings are done, whose turn it is, and for how long."""

    def __init__(self, console: Console):
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self.console = console
        self.bars = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> "Bars":
        """Start the bar."""
        self.bars.start()
        self.bar = self.bars.add_task("", total=None, left="")
        self.last = ""
        return self

    def __exit__(self, *error: object) -> None:
        """Take it away."""
        self.bars.stop()

    def on_run(self, turn: Any) -> None:
        """Before each training; a line where a bar cannot be seen."""
        left = "" if math.isnan(turn.seconds) else f"at most {_time(turn.seconds)} left"
        said = f"{turn.name}, seed {turn.seed}"
        total = turn.done + 1 + turn.left
        self.bars.update(
            self.bar, description=said, completed=turn.done, total=total, left=left
        )
        if not self.console.is_terminal and turn.name != self.last:
            place = f"{turn.done + 1} of at most {total}"
            self.console.print(f"{turn.name}: training {place} {left}", highlight=False)
        self.last = turn.name

    def on_arm(self, name: str) -> None:
        """Before each pair of steps is timed."""
        self.bars.update(self.bar, description=f"cost of {name}", total=None, left="")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
