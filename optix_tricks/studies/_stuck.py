"""Why is this run stuck? The diagnosis of a run's directory, as text and figure."""

from collections.abc import Callable

import numpy as np

from optix_tricks._files import own_directory
from optix_tricks.dynamics import diagnose, read_history
from optix_tricks.reports import plot_diagnosis, read_run
from optix_tricks.reports._save import save_figure
from optix_tricks.studies._probe import Row, probe_run
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._run_directory import explained

DPI = 110

Columns = dict[str, np.ndarray]


def diagnose_run(
    path: PathLike,
    *,
    probe: bool = False,
    data_dir: PathLike | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Diagnose a run from its directory and draw `figures/diagnosis.png` into it.

    Args:
        path: The directory of a run, finished or not.
        probe: Whether to train some steps on from a checkpoint first, to measure what
            the run did not log; see `probe_run`. Costs some 350 steps on a small network.
        data_dir: Where the probe finds the data, if not where they were.
        on_step: Called by the probe with how many steps are done of how many.

    Returns:
        The diagnosis as text, and where the figure is.

    Raises:
        ReportError: If `path` is not a run's directory or a file in it is broken.
        ValueError: If the run has not logged a loss yet.
        RunError: If the directory cannot be written, or a probe is asked for and the
            run's recipe is unknown.
        CheckpointError: If a probe is asked for and there is no checkpoint.
    """
    run = read_run(path)
    figure = run.path / "figures" / "diagnosis.png"
    with explained(run.path):
        own_directory(figure.parent)  # a directory that is read only fails early
    train, test = run.train, run.test
    if probe:
        train = _continued(train, probe_run(path, data_dir=data_dir, on_step=on_step))
        seen = test["step"] <= train["step"][-1]
        test = {name: column[seen] for name, column in test.items()}
    history = read_history(train, test, batch_size=run.config.get("batch_size"))
    diagnosis = diagnose(history)
    with explained(run.path):
        save_figure(plot_diagnosis(history, diagnosis), figure, dpi=DPI)
    head = f"{run.path} ({run.recipe}, {len(train['step'])} rows"
    head += ", the last of a probe)" if probe else ")"
    return f"{head}\n{diagnosis}\nDrawn in {figure}"


def _continued(train: Columns, rows: list[Row]) -> Columns:
    """The run's columns up to the probe's first step, and then the probe's rows."""
    before = train["step"] < rows[0]["step"]
    names = dict.fromkeys([*train, *(name for row in rows for name in row)])
    unknown = np.full(np.count_nonzero(before), np.nan)
    return {
        name: np.concatenate(
            [
                train[name][before] if name in train else unknown,
                [row.get(name, np.nan) for row in rows],
            ]
        )
        for name in names
    }
