"""`optix-tricks diagnose run` and `diagnose curvature`."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from optix_tricks.cli._options import folded, parsed
from optix_tricks.cli._positional import Run


@dataclasses.dataclass(frozen=True)
class ProbeOptions:
    """What to diagnose."""

    run: Run
    """a run's directory"""
    probe: bool = False
    """train some steps on from a checkpoint first and measure what was not logged"""
    data_dir: str | None = None
    """where the probe finds the data, if not where they were"""
    debug: bool = False
    """show the traceback of an error"""


@dataclasses.dataclass(frozen=True)
class CurvatureOptions:
    """What to measure."""

    run: Run
    """a run's directory, with a checkpoint"""
    images: int = 512
    """of the training set"""
    data_dir: str | None = None
    """where the data are, if not where they were"""
    debug: bool = False
    """show the traceback of an error"""


def run(arguments: list[str]) -> None:
    """Say why a run is stuck, or that it is not."""
    options = parsed(ProbeOptions, "diagnose run", run.__doc__, arguments)
    from optix_tricks.studies import diagnose_run

    with _progress("steps of the probe", visible=options.probe) as on_step:
        text = diagnose_run(
            options.run, probe=options.probe, data_dir=options.data_dir, on_step=on_step
        )
    print(folded(text))


def curvature(arguments: list[str]) -> None:
    """Measure the curvature where a run stands: minimum, saddle, how sharp."""
    options = parsed(CurvatureOptions, "diagnose curvature", curvature.__doc__, arguments)
    from optix_tricks.studies import measure_curvature

    with _progress("passes over the images") as on_step:
        text = measure_curvature(
            options.run, images=options.images, data_dir=options.data_dir, on_step=on_step
        )
    print(folded(text))


@contextlib.contextmanager
def _progress(name: str, *, visible: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, and the function that moves it; elsewhere some lines."""
    console = Console(stderr=True)
    bars = counting(console)
    bars.disable = not console.is_terminal
    tells = visible and bars.disable
    with bars:
        task = bars.add_task(name, total=None, visible=visible)
        if tells:
            console.print(f"{name}: compiling the first takes most of a minute")
        tenth = 0

        def on_step(done: int, total: int) -> None:
            nonlocal tenth
            bars.update(task, completed=done, total=total)
            if tells and 10 * done // total > tenth:
                tenth = 10 * done // total
                console.print(f"{name}: {done} of {total}", highlight=False)

        yield on_step


def counting(console: Console) -> Progress:
    """A bar with how many are done of how many."""
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
