"""Trains both sides of every comparison, seed by seed, until each is settled."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from optix_tricks._checks import check_nonnegative
from optix_tricks.ledger._arm import Arm, digest_of
from optix_tricks.ledger._cost import step_cost
from optix_tricks.ledger._effect import looks
from optix_tricks.ledger._rows import Rows
from optix_tricks.ledger._table import Measured, measured
from optix_tricks.ledger._trainings import Members, Trainings, Turn
from optix_tricks.recipes import Run
from optix_tricks.training import Dataset


def measure_effects(
    base: Run,
    arms: Sequence[Arm],
    dataset: Dataset,
    *,
    path: str | Path,
    seeds: int = 10,
    resolution: int | float = 0.005,
    budget: int | float = math.inf,
    members: Members = "auto",
    on_run: Callable[[Turn], None] = lambda turn: None,
) -> list[Measured]:
    """Measure the effect of each arm's trick, paired by seed with the base.

    At each of `looks(seeds)` an arm is settled, and takes no more seeds, if the interval
    of its effect on accuracy (on the loss, where nothing counts accuracy) leaves zero
    out or is no wider than `resolution` on either side, or if a seed has diverged. Every
    training is a line of `ledger.jsonl`, written when it is done; what is there already
    is not trained again, whichever call began it.

    Args:
      base: what each arm is compared with; its seed is the first of the paired ones.
      arms: see `added` and `removed`.
      dataset: of all, as `base.load()` returns it.
      path: a directory, made if it is not there.
      seeds: the most of each arm.
      resolution: half-width at which an effect is known well enough.
      budget: seconds after which no training begins.
      members: how a run's seeds are trained: each "alone", or "together" in a sweep where
        nothing happens between epochs; "auto" is together on accelerators.
      on_run: called before each training, or those together.

    Returns:
      A row an arm, in their order; one that the budget left out has no seeds.

    Raises:
      RunError: if the file is of something else, in use, or cannot be written.
      ValueError: if a number is out of range, or a trick cannot be put on.
    """
    check_nonnegative("resolution", resolution)
    if not budget >= 0:
        raise ValueError(f"budget must be 0 seconds or more, got {budget}.")
    planned, path = looks(seeds), Path(path)
    with Rows.below(path) as rows:
        trainings = Trainings(
            rows, dataset, path, first=base.seed, most=seeds, members=members
        )
        trainings.clock(budget, on_run)

        def table() -> list[Measured]:
            return [
                measured(rows, base, arm, looks=planned, resolution=resolution)
                for arm in arms
            ]

        for n in planned:
            found = zip(arms, table(), strict=True)
            going = [arm for arm, row in found if not row.is_settled]
            if going:
                trainings.run(
                    n, [("base", base), *((arm.name, arm.run) for arm in going)]
                )
        return table()


def measure_costs(
    base: Run,
    arms: Sequence[Arm],
    dataset: Dataset,
    *,
    path: str | Path,
    on_arm: Callable[[str], None] = lambda name: None,
) -> None:
    """Measure what each arm's step costs beside the base's; a line each.

    Nothing else should run meanwhile. See `step_cost`.
    """
    with Rows.below(path) as rows:
        own = base.plan(dataset).job(base.seed)
        for arm in arms:
            digests = digest_of(arm.run), digest_of(base)
            if rows.find("cost", *digests) is None:
                on_arm(arm.name)
                job = arm.run.plan(dataset).job(base.seed)
                cost = step_cost(job, own, dataset)
                keys = {"kind": "cost", "setup": digests[0], "base": digests[1]}
                rows.append({**keys, "name": arm.name, **cost._asdict()})
