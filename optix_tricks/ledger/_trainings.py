"""The trainings that a ledger lacks, each kept when it is done."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from optix_tricks.ledger._arm import digest_of
from optix_tricks.ledger._rows import Rows
from optix_tricks.ledger._together import can_train_together, train_together
from optix_tricks.ledger._training import train_once
from optix_tricks.recipes import Run
from optix_tricks.training import Dataset
from optix_tricks.tricks._plan import Plan

Members = Literal["auto", "alone", "together"]


class Turn(NamedTuple):
    """What is trained next, and how far measuring is."""

    name: str  # of the arm, or "base"
    seed: int
    done: int  # trainings of this call
    left: int  # those that follow, if no arm is settled before the last look
    seconds: float  # that those will take, at the mean until now; NaN before the first


class Trainings:
    """Those that the file lacks: seed by seed, or a run's seeds as members of a sweep."""

    def __init__(
        self,
        rows: Rows,
        dataset: Dataset,
        path: Path,
        *,
        first: int,
        most: int,
        members: Members = "auto",
    ):
        self.rows, self.dataset, self.scratch = rows, dataset, path / "training"
        self.first, self.most = first, most  # seed, and seeds of a run
        on_accelerator = jax.default_backend() != "cpu"
        self.together = {"auto": on_accelerator}.get(members, members == "together")
        self.done = 0

    def clock(self, budget: int | float, on_run: Callable[[Turn], None]) -> None:
        """Start the clock."""
        self.begun, self.budget, self.on_run = time.monotonic(), budget, on_run

    def missing(self, run: Run, n: int) -> list[int]:
        """Return which of the first n seeds are not in the file."""
        digest = digest_of(run)
        seeds = range(self.first, self.first + n)
        return [k for k in seeds if self.rows.find("run", digest, k) is None]

    def run(self, n: int, named: Sequence[tuple[str, Run]]) -> None:
        """Train the first n seeds of each run, while there is time."""
        for name, run in named:
            waiting = self.missing(run, n)
            if not waiting:
                continue
            plan, digest = run.plan(self.dataset), digest_of(run)
            for seeds in self._in_turn(plan, waiting):
                spent = time.monotonic() - self.begun
                if spent > self.budget:
                    return
                left = sum(len(self.missing(each, self.most)) for _, each in named)
                mean = spent / self.done if self.done else math.nan
                after = left - len(seeds)
                self.on_run(Turn(name, seeds[0], self.done, after, left * mean))
                for seed, found in zip(seeds, self._trained(plan, seeds), strict=True):
                    keys = {"kind": "run", "name": name, "setup": digest, "seed": seed}
                    self.rows.append(keys | found)
                self.done += len(seeds)

    def _in_turn(self, plan: Plan, seeds: list[int]) -> list[list[int]]:
        """Return the seeds by what is trained at once."""
        if self.together and len(seeds) > 1 and can_train_together(plan, seeds[0]):
            return [seeds]
        return [[seed] for seed in seeds]

    def _trained(self, plan: Plan, seeds: list[int]) -> list[dict[str, Any]]:
        if len(seeds) > 1:
            return train_together(plan, self.dataset, seeds)
        return [train_once(plan, self.dataset, seeds[0], self.scratch)]
