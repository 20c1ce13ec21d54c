"""Verdicts from the loss's pace and the gradient's size alone."""

import math

from optix_tricks.dynamics.diagnosis import _thresholds as at
from optix_tricks.dynamics.diagnosis._finding import (
    Finding,
    annealing,
    arrived,
    ended,
    improving,
    pace,
    small_gradient,
    stuck,
)
from optix_tricks.dynamics.diagnosis._symptoms import Symptoms
from optix_tricks.dynamics.diagnosis._thresholds import ramp


def healthy(s: Symptoms) -> Finding:
    """The loss falls."""
    evidence = (pace(s), _rate_left(s)) if ended(s) else (pace(s),)
    return Finding("healthy", improving(s), evidence)


def diverged(s: Symptoms) -> Finding:
    """The loss is no number, or above its start and still rising."""
    if not s.is_finite:
        seen = "The last logged loss is not a finite number."
        return Finding("diverged", 1.0, (seen,))
    risen = ramp(s.level / s.first, at.RISE) if s.first > 0 else 0.0
    certain = ramp(-s.certainty, at.SIGNIFICANCE)
    score = min(risen, ramp(s.fall, at.GROWTH), certain)
    return Finding("diverged", score, (pace(s),))


def converged(s: Symptoms) -> Finding:
    """The loss is flat where it has nowhere to go."""
    evidence = [pace(s)]
    if s.lowest_curvature > at.NEGATIVE:
        evidence.append(
            "The smallest eigenvalue of the Hessian is "
            f"{s.lowest_curvature:.1e} of the largest, as far as it was resolved: no "
            "direction down was found."
        )
    if s.accuracy > at.ACCURACY[0]:
        evidence.append(f"Training accuracy is {s.accuracy:.1%}.")
    if ended(s):
        evidence.append(_rate_left(s))
    return Finding("converged", min(1 - improving(s), arrived(s)), tuple(evidence))


def schedule_ended(s: Symptoms) -> Finding:
    """The loss is flat since the rate is gone, at a level that says nothing."""
    score = min(1 - improving(s), ended(s), 1 - arrived(s))
    return Finding("schedule ended", score, (pace(s), _rate_left(s)))


def _rate_left(s: Symptoms) -> str:
    return f"The learning rate is at {s.rate_left:.1%} of its peak."


def critical_point(s: Symptoms) -> Finding:
    """The loss is flat, the gradient is small, and it is no optimum that one can see."""
    evidence = [pace(s)]
    if not math.isnan(s.product):
        noise = "" if s.pull == s.product else f", {s.pull:.1e} without its noise"
        evidence.append(
            "The gradient is small: gradient norm x parameter norm / loss is "
            f"{s.product:.1e}{noise} (usual: 0.1 to 100)."
        )
    elif s.gradient_left < 0.1:
        evidence.append(f"Its norm is {s.gradient_left:.1e} of the run's largest.")
    score = min(stuck(s), small_gradient(s))
    if s.lowest_curvature <= at.NEGATIVE:
        evidence.append(
            "It is a saddle: the smallest eigenvalue of the Hessian is "
            f"{s.lowest_curvature:.1e} of the largest."
        )
    elif math.isnan(s.lowest_curvature):
        evidence.append("Whether it is a minimum or a saddle needs the curvature.")
    return Finding("critical point", score, tuple(evidence))


def plateau(s: Symptoms) -> Finding:
    """The loss is flat, and nothing that was logged says why: ranks below every cause."""
    evidence = (pace(s), "Nothing that was logged tells the cause.")
    return Finding("plateau", min(stuck(s), 1 - annealing(s)), evidence)
