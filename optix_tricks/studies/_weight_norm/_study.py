"""Runs the parts that are asked for and not there yet, and draws what is there."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from optix_tricks.reports import plot_rate_sweep, plot_weight_norms
from optix_tricks.reports._save import save_figure
from optix_tricks.studies._weight_norm._config import Config
from optix_tricks.studies._weight_norm._gradients import run_gradients
from optix_tricks.studies._weight_norm._lars import run_batch, run_lars
from optix_tricks.studies._weight_norm._rates import run_rates
from optix_tricks.studies._weight_norm._trainings import (
    load_record,
    only,
    run_constant,
    run_schedules,
)
from optix_tricks.training import Dataset, RunDirectory

PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "schedules": run_schedules,
    "constant": run_constant,
    "lars": run_lars,
    "gradients": run_gradients,
    "batch": run_batch,
    "rates": run_rates,
}
DPI = 130
RECORDS = ("sgd", "momentum", "constant")


def run_study(
    config: Config,
    dataset: Dataset,
    run: RunDirectory,
    *,
    parts: Sequence[str] = tuple(PARTS),
    on_step: Callable[[str, int, int], None] = lambda part, done, total: None,
) -> dict[str, Any]:
    """Run parts of the study, and return the results of all parts that are there.

    Args:
        config: of the experiments.
        dataset: to train and test on.
        run: gets PART.json for each part, records (.npz), trainings.jsonl and figures.
        parts: of `PARTS`.
        on_step: called with the part, the steps (or epochs) done, and how many there are.

    Raises:
        ValueError: if a part is not one of `PARTS`.
    """
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"parts must be of {', '.join(PARTS)}, got {part!r}.")
    results = {}
    for part, work in PARTS.items():
        path = run.path / f"{part}.json"
        if part in parts and not path.exists():
            found = work(
                config,
                dataset,
                run.path,
                lambda done, total, part=part: on_step(part, done, total),
            )
            run.write_json(path.name, found)
        if path.exists():
            results[part] = _with_nan(json.loads(path.read_text()))
            _draw(run, part, results[part])
    return results


def _with_nan(x: Any) -> Any:
    """What was read, with NaN in place of null: numbers that JSON does not have."""
    if isinstance(x, dict):
        return {name: _with_nan(value) for name, value in x.items()}
    if isinstance(x, list):
        return [_with_nan(value) for value in x]
    return math.nan if x is None else x


def _draw(run: RunDirectory, part: str, found: dict[str, Any]) -> None:
    figures = run.path / "figures"
    for name in RECORDS:
        if name in found:
            obeying = [x["layer"] for x in found[name]["layers"] if x["scale_invariant"]]
            record = only(load_record(run.path / f"{name}.npz"), obeying)
            figure = plot_weight_norms(record)
            save_figure(figure, figures / f"{name}.png", dpi=DPI)
    if part == "rates":
        for smooth in (True, False):
            figure = plot_rate_sweep(found["rates"], found["networks"], smooth=smooth)
            name = "rates_smooth" if smooth else "rates"
            save_figure(figure, figures / f"{name}.png", dpi=DPI)
