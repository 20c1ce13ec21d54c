"""Why is this run stuck? The diagnosis of a run's directory, as text and figure."""

import os
from pathlib import Path

from optix_tricks.dynamics import diagnose, read_history
from optix_tricks.reports import plot_diagnosis, read_run


def diagnose_run(path: str | os.PathLike[str]) -> str:
    """Diagnose a run from its directory and draw `figures/diagnosis.png` into it.

    Args:
        path: The directory of a run, finished or not.

    Returns:
        The diagnosis as text, and where the figure is.

    Raises:
        ReportError: If `path` is not a run's directory or a file in it is broken.
        ValueError: If the run has not logged a loss yet.
    """
    run = read_run(path)
    batch_size = run.config.get("batch_size")
    history = read_history(run.train, run.test, batch_size=batch_size)
    diagnosis = diagnose(history)
    figure = Path(path) / "figures" / "diagnosis.png"
    figure.parent.mkdir(exist_ok=True)
    plot_diagnosis(history, diagnosis).savefig(figure, dpi=110)
    head = f"{run.path} ({run.recipe}, {len(run.train['step'])} rows)"
    return f"{head}\n{diagnosis}\nDrawn in {figure}"
