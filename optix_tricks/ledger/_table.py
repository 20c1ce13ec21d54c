"""From the file's rows to a row a trick: effect, verdict, speed, cost."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from optix_tricks.ledger._arm import Arm, digest_of
from optix_tricks.ledger._cost import Cost
from optix_tricks.ledger._effect import Effect, holm, paired_effect
from optix_tricks.ledger._rows import Rows
from optix_tricks.recipes import Run

ERROR = 0.05  # of missing the true effect, over all looks


class Measured(NamedTuple):
    """What is known of one trick. Every number is with the trick less without it.

    Attributes:
      name: of the arm: `+mixup`, `-flip`.
      trick: with its numbers.
      is_added: to the base; False for one that was taken away from it.
      seeds: pairs that both sides have.
      loss: the effect on the test loss.
      accuracy: on the test accuracy, as a share; None where nothing counts it.
      values: each pair's [seed, loss with, loss without, accuracy with, without].
      diverged: of the pairs, with the trick and without it.
      steps: to the accuracy at which the other side ends, as a share of its steps, the
        mean over the pairs that reach it; None of none.
      reached: how many do.
      tuned: the name of a number of which each side has its own best, and the two; None
        where both have the base's.
      cost: of the step; None if not measured.
      verdict: "helps" or "hurts", where the interval leaves zero out; "small", where it
        does not but is as narrow as was asked for; "undecided"; "diverges" or "prevents
        divergence", of a pair at least; "not measured".
    """

    name: str
    trick: str
    is_added: bool
    seeds: int
    loss: Effect
    accuracy: Effect | None
    values: tuple[tuple[Any, ...], ...]
    diverged: tuple[int, int]
    steps: float | None
    reached: int
    tuned: tuple[str, float, float] | None
    cost: Cost | None
    verdict: str

    @property
    def effect(self) -> Effect:
        """On accuracy, or on the loss where there is none: what settles it."""
        return self.loss if self.accuracy is None else self.accuracy

    @property
    def is_settled(self) -> bool:
        """Whether more seeds are not needed."""
        return self.verdict not in ("undecided", "not measured")


def measured(
    rows: Rows, base: Run, arm: Arm, *, looks: Sequence[int], resolution: float
) -> Measured:
    """Return what the rows say of an arm."""
    of_base, of_arm = digest_of(base), digest_of(arm.run)
    pairs = []
    for seed in range(base.seed, base.seed + looks[-1]):
        one, other = (rows.find("run", digest, seed) for digest in (of_arm, of_base))
        if one is None or other is None:
            break
        pairs.append((one, other) if arm.is_added else (other, one))

    def numbers(name: str) -> np.ndarray:
        found = [[row.get(name) for row in pair] for pair in pairs]
        return np.array(found, float).reshape(-1, 2)  # null becomes NaN

    loss, accuracy = numbers("test_loss"), numbers("test_accuracy")
    diverged = numbers("diverged").sum(axis=0).astype(int)
    counts = not np.isnan(accuracy).all()
    on_loss, on_accuracy = (
        paired_effect(x[:, 0] - x[:, 1], looks=looks, error=ERROR)
        for x in (loss, accuracy)
    )
    cost = rows.find("cost", of_arm, of_base)
    found = None if cost is None else Cost(**{k: cost[k] for k in Cost._fields})
    reached = [x for x in (_steps_to(*pair) for pair in pairs) if x is not None]
    seeds = range(base.seed, base.seed + len(pairs))
    return Measured(
        name=arm.name,
        trick=str(arm.trick),
        is_added=arm.is_added,
        seeds=len(pairs),
        loss=on_loss,
        accuracy=on_accuracy if counts else None,
        values=tuple((k, *a, *b) for k, a, b in zip(seeds, loss, accuracy, strict=True)),
        diverged=(int(diverged[0]), int(diverged[1])),
        steps=float(np.mean(reached)) if reached else None,
        reached=len(reached),
        tuned=_tuned(base, arm),
        cost=found if found is None or arm.is_added else found.turned(),
        verdict=_verdict(
            on_accuracy if counts else on_loss,
            better=1 if counts else -1,
            diverged=diverged,
            resolution=resolution,
        ),
    )


def corrected(table: Sequence[Measured]) -> list[float]:
    """Return p of no effect for each row, corrected for their number by Holm."""
    return holm([row.effect.p for row in table])


def _tuned(base: Run, arm: Arm) -> tuple[str, float, float] | None:
    if arm.tuned is None:
        return None
    one, other = arm.run.number(arm.tuned), base.number(arm.tuned)
    return (arm.tuned, one, other) if arm.is_added else (arm.tuned, other, one)


def _verdict(
    effect: Effect, *, better: int, diverged: np.ndarray, resolution: float
) -> str:
    if diverged[0] > diverged[1]:
        return "diverges"
    if diverged[1]:
        return "prevents divergence" if diverged[1] > diverged[0] else "diverges"
    if not effect.is_settled(resolution):
        return "undecided" if effect.n else "not measured"
    return {better: "helps", -better: "hurts", 0: "small"}[effect.sign]


def _steps_to(one: dict[str, Any], other: dict[str, Any]) -> float | None:
    """Steps of one to the accuracy at which the other ends, as a share of its steps.

    Between two tests the accuracy is taken to rise in a straight line.
    """
    wanted = other["epochs"][-1][2] if other["epochs"] else None
    if wanted is None:
        return None
    before: tuple[float, float] | None = None
    for step, _, accuracy in one["epochs"]:
        if accuracy is None or math.isnan(accuracy):
            return None
        if accuracy >= wanted:
            at, of = before or (step, accuracy)
            share = (wanted - of) / (accuracy - of) if accuracy > of else 1.0
            return (at + share * (step - at)) / other["epochs"][-1][0]
        before = step, accuracy
    return None
