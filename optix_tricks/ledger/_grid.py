"""A run at every combination of some numbers, and which of them is best."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from optix_tricks._checks import check_count
from optix_tricks.ledger._arm import digest_of
from optix_tricks.ledger._rows import Rows
from optix_tricks.ledger._trainings import Members, Trainings, Turn
from optix_tricks.recipes import Run
from optix_tricks.training import Dataset

DRAWS = 4000  # of the bootstrap
SPACINGS: dict[str, Any] = {"log": np.geomspace, "linear": np.linspace}


class Axis(NamedTuple):
    """A number of the setup and the values that it takes."""

    name: str  # as `Setup.change` takes it; `trick.number` too
    values: tuple[int | float, ...]


class Point(NamedTuple):
    """A combination of values, and the run with them."""

    values: tuple[int | float, ...]
    run: Run
    name: str  # of the values


class Best(NamedTuple):
    """Which point is best by the mean over seeds, and how sure that is.

    Attributes:
      point: its number.
      share: of bootstrap samples of the seeds, in which each point is the best [points].
    """

    point: int
    share: Float[np.ndarray, " points"]


def axis(name: str, text: str) -> Axis:
    """Return an axis from `1e-4,5e-4` or `0.01:3:log:8`, or `0:0.2:linear:5`.

    Raises:
      ValueError: if the text is neither.

    >>> axis("learning_rate", "0.1:10:log:3")
    Axis(name='learning_rate', values=(0.1, 1.0, 10))
    """
    try:
        if ":" in text:
            low, high, spacing, number = text.split(":")
            values = SPACINGS[spacing](float(low), float(high), int(number)).tolist()
        else:
            values = [float(word) for word in text.split(",")]
        if len(values) < 2 or not np.isfinite(values).all():
            raise ValueError("fewer than two, or not finite")
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{name} must be values, 0.1,0.3,1, or LOW:HIGH:log:NUMBER or"
            f" LOW:HIGH:linear:NUMBER, two or more, got {text!r}."
        ) from error
    rounded = [float(f"{x:.6g}") for x in values]
    return Axis(name, tuple(int(x) if x == int(x) and abs(x) > 1 else x for x in rounded))


def grid(base: Run, axes: Sequence[Axis]) -> list[Point]:
    """Return the base at every combination; the last axis varies fastest.

    Raises:
      ValueError: if the setup has no such number; see `Setup.change`.
    """
    points = []
    for values in itertools.product(*(each.values for each in axes)):
        setup = base.setup
        for each, x in zip(axes, values, strict=True):
            trick, dot, number = each.name.partition(".")
            change: dict[str, Any] = {trick: {number: x}} if dot else {each.name: x}
            setup = setup.change(**change)
        named = zip(axes, values, strict=True)
        name = " ".join(f"{each.name}={x:g}" for each, x in named)
        points.append(Point(values, dataclasses.replace(base, setup=setup), name))
    return points


def measure_grid(
    points: Sequence[Point],
    dataset: Dataset,
    *,
    path: str | Path,
    seeds: int,
    budget: int | float = math.inf,
    members: Members = "auto",
    on_run: Callable[[Turn], None] = lambda turn: None,
) -> dict[str, Float[np.ndarray, "points seeds"]]:
    """Train every point with every seed, and return what was tested.

    Args:
      points: of `grid`.
      dataset: of all.
      path: a directory; its `ledger.jsonl` gets a line a training, and what is there
        already is not trained again.
      seeds: of each point, the same.
      budget: seconds after which no training begins.
      members: how a run's seeds are trained: each "alone", or "together" in a sweep where
        nothing happens between epochs; "auto" is together on accelerators.
      on_run: called before each training, or those together.

    Returns:
      The numbers of the final test and validation by name, NaN where a training diverged
      or was left out.
    """
    check_count("seeds", seeds, minimum=1)
    if not points:
        raise ValueError("points must hold one or more, got none.")
    first = points[0].run.seed
    with Rows.below(path) as rows:
        trainings = Trainings(
            rows, dataset, Path(path), first=first, most=seeds, members=members
        )
        trainings.clock(budget, on_run)
        trainings.run(seeds, [(point.name, point.run) for point in points])
        digests = [digest_of(point.run) for point in points]
        kept = [
            [rows.find("run", digest, first + k) or {} for k in range(seeds)]
            for digest in digests
        ]
    names = ("test_loss", "test_accuracy", "validation_loss", "validation_accuracy")
    found = {
        name: np.array([[row.get(name) for row in line] for line in kept], float)
        for name in names
    }
    return {name: x for name, x in found.items() if not np.isnan(x).all()}


def best_point(values: Float[np.ndarray, "points seeds"], *, highest: bool) -> Best:
    """Return the point with the best mean over the seeds, drawn again and again.

    A point that diverged with a seed is no candidate. Seeds are drawn together for all
    points, as they are paired: Efron, Bootstrap methods, 1979.
    """
    sign = 1 if highest else -1
    x = np.where(np.isnan(values).any(axis=1, keepdims=True), -np.inf, sign * values)
    draws = np.random.default_rng(0).integers(x.shape[1], size=(DRAWS, x.shape[1]))
    means = x[:, draws].mean(axis=2)  # [points, draws]
    winners = np.bincount(means.argmax(axis=0), minlength=len(x))
    return Best(int(x.mean(axis=1).argmax()), winners / DRAWS)
