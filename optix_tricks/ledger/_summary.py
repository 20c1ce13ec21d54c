"""The ledger in one file of JSON: what the page, the cards and the docs are made from."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optix_tricks._files import replace_file
from optix_tricks.ledger._effect import Effect, looks
from optix_tricks.ledger._rows import FILE, read_rows
from optix_tricks.ledger._table import ERROR, Measured, corrected
from optix_tricks.recipes import Run
from optix_tricks.training import Dataset
from optix_tricks.training._json_numbers import strict
from optix_tricks.training._run_directory import explained

SUMMARY = "ledger.json"


def write_summary(
    path: str | Path,
    base: Run,
    table: Sequence[Measured],
    dataset: Dataset,
    *,
    seeds: int,
    resolution: float,
    refused: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write `ledger.json` beside the rows, and return what is in it.

    Args:
      path: the ledger's directory.
      base: what was compared with.
      table: of `measure_effects`.
      dataset: of both sides.
      seeds: as they were given to `measure_effects`, like the next.
      resolution: half-width that was narrow enough.
      refused: tricks that could not be put on, with the reason.
    """
    environments = [x for x in read_rows(Path(path) / FILE) if x["kind"] == "environment"]
    holm = corrected(table)
    summary = strict(
        {
            "recipe": base.recipe.name,
            "dataset": dataset.name,
            "examples": [dataset.train.size, dataset.test.size],
            "setup": [[slot, name, n] for slot, name, n in base.setup.table()],
            "epochs": base.setup.epochs,
            "batch_size": base.setup.batch_size,
            "seeds": seeds,
            "looks": looks(seeds),
            "error": ERROR,
            "resolution": resolution,
            "environments": environments,
            "refused": dict(refused or {}),
            "rows": [_row(x, p) for x, p in zip(table, holm, strict=True)],
        }
    )
    with explained(path):
        text = json.dumps(summary, indent=1) + "\n"
        replace_file(Path(path) / SUMMARY, text.encode())
    return summary


def _row(measured: Measured, p: float) -> dict[str, Any]:
    return {
        "name": measured.name,
        "trick": measured.trick,
        "added": measured.is_added,
        "verdict": measured.verdict,
        "seeds": measured.seeds,
        "accuracy": _effect(measured.accuracy),
        "loss": _effect(measured.loss),
        "p_corrected": p,
        "diverged": measured.diverged,
        "steps": measured.steps,
        "reached": measured.reached,
        "tuned": measured.tuned,
        "cost": None if measured.cost is None else measured.cost._asdict(),
        "pairs": measured.values,
    }


def _effect(effect: Effect | None) -> dict[str, float] | None:
    if effect is None or not effect.n or math.isnan(effect.mean):
        return None
    return effect._asdict()
