"""One training of the ledger: what `optix-tricks train` does, and what is kept of it."""

import math
import shutil
import time
from pathlib import Path
from typing import Any

from optix_tricks.training import Dataset, NotFiniteError, RunDirectory, train
from optix_tricks.training._progress import QUIET
from optix_tricks.tricks._plan import Plan


def train_once(plan: Plan, dataset: Dataset, seed: int, scratch: Path) -> dict[str, Any]:
    """Train one seed of a plan and return what is kept of it.

    Returns:
      `test_loss` and the other numbers of the final test, with all views and from the
      average where there is one; `epochs`, a row [step, test loss, test accuracy] for
      each, of one view; `seconds` of training; whether it `diverged`: its test loss is
      then null.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    job = plan.job(seed)._replace(checkpoint_every=math.ceil(plan.setup.epochs))
    start = time.perf_counter()
    with RunDirectory.start(scratch, recipe="ledger", config={}) as run:
        try:
            _, result = train(job, dataset, run, console=QUIET)
            found = {**result.as_json(), "diverged": False}
        except NotFiniteError as error:
            found = {"test_loss": math.nan, "diverged": True, "why": str(error)}
            found["seconds"] = time.perf_counter() - start
        tests = [row for row in run.read_metrics() if row["kind"] == "test"]
    shutil.rmtree(scratch)
    epochs = [[row["step"], row["loss"], row.get("accuracy")] for row in tests]
    return {**found, "epochs": epochs}
