"""The effect of a trick: the mean of paired differences, its interval, its p-value.

Seeds are added in looks: after each, what is settled takes no more. Each look spends its
share of the error, so that looking often costs no coverage.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import special

from optix_tricks._checks import check_count, check_positive

FIRST_LOOK = 5  # seeds; with fewer the deviation itself is hardly known
POWER = 0.8  # with which `Effect.visible` would have been seen


class Effect(NamedTuple):
    """What paired seeds say of a difference, in the unit of the differences.

    Attributes:
      mean: of all differences; NaN if one is not finite.
      half_width: of the interval `mean_at_look` ± `half_width`; infinite before the first
        look.
      mean_at_look: of the differences at the last look.
      n: differences.
      looked: how many of them the last look had; 0 before the first.
      deviation: of a difference, from those at the last look; NaN before the first.
      p: of no effect, valid whenever the seeds stopped; 1 before the first look.
      visible: the smallest effect that so many seeds see in four of five tries.
    """

    mean: float
    half_width: float
    mean_at_look: float
    n: int
    looked: int
    deviation: float
    p: float
    visible: float

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        return self.mean_at_look - self.half_width, self.mean_at_look + self.half_width

    def is_settled(self, resolution: float) -> bool:
        """Whether more seeds are not asked for: a sign, or as narrow as this."""
        return self.looked > 0 and (self.sign != 0 or self.half_width <= resolution)

    @property
    def sign(self) -> int:
        """-1 or 1 where the interval leaves zero out, else 0."""
        low, high = self.interval
        return int(low > 0) - int(high < 0)


def looks(seeds: int) -> tuple[int, ...]:
    """Return after how many seeds to look: all, half, a quarter, ... but no fewer than 5.

    >>> looks(20), looks(12), looks(3)
    ((5, 10, 20), (6, 12), (3,))
    """
    check_count("seeds", seeds, minimum=2)
    found = [seeds]
    while found[0] // 2 >= FIRST_LOOK:
        found.insert(0, found[0] // 2)
    return tuple(found)


def paired_effect(
    differences: Float[np.ndarray, " n"] | Sequence[float],
    *,
    looks: Sequence[int],
    error: float = 0.05,
) -> Effect:
    r"""Return the mean difference with an interval that holds at every look at once.

    At look :math:`k`, after :math:`n_k` of at most :math:`n_K` seeds,

    .. math::

        \bar d_{n_k} \pm t_{n_k - 1,\, 1 - \alpha_k / 2} \; s_{n_k} / \sqrt{n_k},
        \qquad \alpha_k = \alpha \, (n_k - n_{k-1}) / n_K .

    The shares :math:`\alpha_k` add up to :math:`\alpha`, so by the union bound all
    intervals hold together with probability of at least :math:`1 - \alpha`, however it is
    chosen at which of them to stop. The p-value is of the same looks,
    :math:`\min_k \min(1, p_k \alpha / \alpha_k)`. One look is the plain paired t
    interval.

    Differences that are all equal and not zero tell no deviation: their interval is
    infinite. Cost: nothing beside a training.

    Args:
      differences: trick less base, a number a seed, in the order of the seeds.
      looks: after how many seeds it was, or will be, looked; the last is the most.
      error: :math:`\alpha`, of missing the true mean, over all looks.

    Raises:
      ValueError: if `error` is outside (0, 1), looks do not rise from 2 on, or there are
        more differences than the last look has.

    Source:
      Jennison and Turnbull, Group Sequential Methods, 2000, chapter 9 (repeated
      confidence intervals); Kim and DeMets, Design and analysis of group sequential tests
      based on the type I error spending rate function, 1987 (its power 1).

    Examples:
      >>> found = paired_effect([0.3, 0.1, 0.2, 0.2, 0.3, 0.4], looks=(5, 10))
      >>> found.looked, round(found.mean_at_look, 2), round(found.half_width, 2)
      (5, 0.22, 0.13)
    """
    check_positive("error", error)
    if error >= 1:
        raise ValueError(f"error must be in (0, 1), got {error}.")
    steps = [*looks]
    if steps != sorted({*steps}) or not steps or steps[0] < 2:
        raise ValueError(f"looks must rise, from 2 seeds or more, got {steps}.")
    d = np.asarray(differences, np.float64)
    if len(d) > steps[-1]:
        raise ValueError(
            f"differences must be {steps[-1]} at the most, the last of looks, got"
            f" {len(d)}."
        )
    mean = float(d.mean()) if len(d) else math.nan
    found = Effect(mean, math.inf, mean, len(d), 0, math.nan, 1.0, math.inf)
    if not math.isfinite(mean):
        return found
    for before, n in zip([0, *steps], steps, strict=False):
        if n > len(d):
            break
        share = (n - before) / steps[-1]
        found = _at_look(d[:n], found, share, error)._replace(mean=mean, n=len(d))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that are corrected for their number, in the same order.

    The i-th smallest of m is multiplied by m - i + 1, and made no smaller than those
    before it: what is below `error` then holds for the whole family at once.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, least = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = least
    return corrected


def _at_look(
    d: Float[np.ndarray, " n"], before: Effect, share: float, error: float
) -> Effect:
    n, mean, deviation = len(d), float(d.mean()), float(d.std(ddof=1))
    scale = deviation / math.sqrt(n)
    if np.ptp(d) <= 1e-9 * abs(mean):
        half_width, p = (0.0 if mean == 0 else math.inf), 1.0
    else:
        half_width = _quantile(share * error / 2, n - 1) * scale
        p = 2 * float(special.stdtr(n - 1, -abs(mean) / scale)) / share
    seen = _quantile(share * error / 2, n - 1) + _quantile(1 - POWER, n - 1)
    return before._replace(
        half_width=half_width,
        mean_at_look=mean,
        looked=n,
        deviation=deviation,
        p=min(before.p, p, 1.0),
        visible=seen * scale,
    )


def _quantile(tail: float, degrees: int) -> float:
    """Of Student's t: what `tail` of it lies above."""
    return -float(special.stdtrit(degrees, tail))
