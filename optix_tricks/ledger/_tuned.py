"""Gives each side of a comparison its own best of a few rates."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from optix_tricks._checks import check_count
from optix_tricks.ledger._arm import Arm
from optix_tricks.ledger._grid import Axis, best_point, grid, measure_grid
from optix_tricks.ledger._trainings import Turn
from optix_tricks.recipes import Run
from optix_tricks.training import Dataset, split_validation

FACTOR = 2.0  # between neighbours
SHARE = 0.1  # of the training examples, that choose
APART = 1000  # seeds from the first of the comparison: none is in both


def tuned(
    base: Run,
    arms: Sequence[Arm],
    dataset: Dataset,
    *,
    path: str | Path,
    name: str = "learning_rate",
    values: int = 3,
    seeds: int = 1,
    on_run: Callable[[Turn], None] = lambda turn: None,
) -> tuple[Run, list[Arm]]:
    """Return base and arms, each at the best of its own number times powers of two.

    A trick that wants another rate is not blamed for the base's. What is chosen by is a
    tenth of the training examples, with seeds that the comparison does not use; nothing
    is chosen by the test examples.

    Args:
      base: as for the next, see `measure_effects`.
      arms: likewise.
      dataset: of all.
      path: likewise; the trainings that choose are lines of the same file.
      name: of the number.
      values: an odd number of them, the run's own in the middle.
      seeds: of each.
      on_run: called before each training.

    Raises:
      ValueError: if `values` is even, or a side has no such number.
    """
    check_count("values", values, minimum=3)
    if values % 2 == 0:
        raise ValueError(
            f"values must be odd, the run's own in the middle, got {values}."
        )
    chosen_by = split_validation(dataset, SHARE, seed=base.seed)

    def best(run: Run) -> Run:
        own, half = run.number(name), values // 2
        at = Axis(name, tuple(own * FACTOR**k for k in range(-half, half + 1)))
        trial = dataclasses.replace(run, seed=run.seed + APART, validation=SHARE)
        points = grid(trial, [at])
        found = measure_grid(points, chosen_by, path=path, seeds=seeds, on_run=on_run)
        counts = "validation_accuracy" in found
        by = found["validation_accuracy" if counts else "validation_loss"]
        setup = points[best_point(by, highest=counts).point].run.setup
        return dataclasses.replace(run, setup=setup)

    return best(base), [arm._replace(run=best(arm.run), tuned=name) for arm in arms]
