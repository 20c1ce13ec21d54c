"""What a rule finds in the symptoms."""

import math
from typing import NamedTuple

from optix_tricks.dynamics.diagnosis import _thresholds as at
from optix_tricks.dynamics.diagnosis._symptoms import Symptoms
from optix_tricks.dynamics.diagnosis._thresholds import decades, ramp


class Finding(NamedTuple):
    """A verdict, how well the numbers fit it, and the numbers."""

    verdict: str
    score: float  # 0 to 1; 1/2 where each number stands at its threshold
    evidence: tuple[str, ...]


def improving(s: Symptoms) -> float:
    """Whether the loss falls, by enough and more than its noise."""
    return min(ramp(s.fall, at.FALL), ramp(s.certainty, at.SIGNIFICANCE))


def at_optimum(s: Symptoms) -> float:
    """Whether the loss has nowhere to go: low, all labels right, or a minimum."""
    left = decades(max(s.level, 0.0) / s.first) if s.first > 0 else math.nan
    if s.lowest_curvature > at.NEGATIVE:
        minimum = ramp(fell(s), at.FELL)
    else:
        minimum = ramp(fell(s), at.FELL_FAR) if math.isnan(s.lowest_curvature) else 0.0
    return max(
        min(ramp(left, at.LEVEL_LEFT), 1 - crawls(s, ramp(s.cosine, at.COHERENT))),
        ramp(s.accuracy, at.ACCURACY),
        min(minimum, small_gradient(s._replace(pull=s.product))),  # that is certain
    )


def crawls(s: Symptoms, direction: float) -> float:
    """Whether there is a slow and certain fall, and gradients of that direction."""
    certain = ramp(s.certainty, at.SIGNIFICANCE)
    slow = min(ramp(s.fall, at.CRAWL), 1 - ramp(s.gradient_fall, at.ARRIVING))
    return min(direction, certain, slow, ramp(fell(s), at.FELL))


def ended(s: Symptoms) -> float:
    """Whether the schedule has taken the rate away."""
    return ramp(decades(s.rate_left), at.RATE_LEFT)


def finished(s: Symptoms) -> float:
    """Whether it has after something was learnt."""
    return min(ended(s), ramp(fell(s), at.FELL))


def arrived(s: Symptoms) -> float:
    """Whether the loss has nowhere to go, or fell far before the schedule ended."""
    return max(at_optimum(s), min(finished(s), ramp(fell(s), at.FELL_FAR)))


def annealing(s: Symptoms) -> float:
    """Whether the schedule is on its way down: a cure for noise that is under way."""
    return max(
        ramp(s.rate_growth, at.RATE_FALLS), ramp(decades(s.rate_left), at.RATE_LOWERED)
    )


def stalled(s: Symptoms) -> float:
    """Whether the loss is not seen to fall where it should."""
    if s.rate_growth > at.RISING_RATE or math.isnan(s.certainty):  # too early to say
        return 0.0
    patience = ramp(float(s.rows), at.PATIENCE)
    return min(1 - improving(s), patience, 1 - at_optimum(s), 1 - finished(s))


def stuck(s: Symptoms) -> float:
    """Whether the loss is flat where it should not be, and no noise could hide a fall."""
    hidden = ramp(s.fall + 3 * s.fall_error, at.HIDDEN_FALL)
    return min(stalled(s), 1 - hidden)


def small_gradient(s: Symptoms) -> float:
    """Whether the surface is flat here, against its scale or else its own past."""
    size = s.gradient_left if math.isnan(s.pull) else s.pull
    return ramp(decades(size), at.SMALL_PULL)


def fell(s: Symptoms) -> float:
    """The fall from the first loss to the last, relative to the first."""
    return 1 - s.level / s.first if s.first > 0 else 0.0


def pace(s: Symptoms) -> str:
    """The pace of the loss in words."""
    if math.isnan(s.certainty):
        return "The second half of the history has too few finite losses to see a trend."
    way = "fell" if s.fall >= 0 else "rose"
    return (
        f"Over the second half of the history the loss {way} by {abs(s.fall):.2%} "
        f"(standard error {s.fall_error:.2%}), to {s.level:.4g} from {s.first:.4g} at "
        "the start."
    )
