"""Verdicts on the learning rate and the shape of the valley."""

import math

from optix_tricks.dynamics.diagnosis import _thresholds as at
from optix_tricks.dynamics.diagnosis._finding import (
    Finding,
    annealing,
    crawls,
    pace,
    small_gradient,
    stalled,
    stuck,
)
from optix_tricks.dynamics.diagnosis._symptoms import Symptoms
from optix_tricks.dynamics.diagnosis._thresholds import decades, ramp


def too_large(s: Symptoms) -> Finding:
    """Steps cross the valley, or throw the weights about."""
    evidence = [pace(s)]
    opposed = ramp(s.cosine, at.OPPOSED)
    if opposed:
        evidence.append(
            f"Successive gradients oppose each other: their cosine is {s.cosine:.2f}."
        )
    alternating = ramp(s.alternation, at.ALTERNATING)
    if alternating:
        evidence.append("Every second loss is high: each step crosses the valley.")
    turnover = ramp(decades(s.turnover), at.TURNOVER)
    if turnover:
        evidence.append(
            f"A step is {s.turnover:.2g} of the parameters' norm (usual: 1e-4 to 1e-2)."
        )
    bounce = min(ramp(s.bounce, at.BOUNCE), 1 - ramp(s.cosine, at.COHERENT))
    if bounce:
        evidence.append(
            f"Curvature x update / gradient is {s.bounce:.2f}; at 2 a step ends on the "
            "other wall, as high as it began."
        )
    blown = blown_up(s)
    if blown:
        evidence.append(
            f"The parameters' norm is {s.blown_up:.1f} times its first value; the loss "
            f"went up to {s.highest:.1f} times its own and is at {s.level / s.first:.0%}."
        )
    seen = min(stalled(s), max(opposed, alternating, turnover, bounce))
    crawling = crawls(s, opposed)
    score = max(min(seen, 1 - crawling), blown)
    return Finding("rate too large", score, tuple(evidence))


def blown_up(s: Symptoms) -> float:
    """Whether early steps threw the weights far out, where little was learnt since."""
    left = s.level / s.first if s.first > 0 else math.nan
    far = min(ramp(decades(s.blown_up), at.BLOWN_UP), ramp(decades(s.highest), at.SPIKED))
    step = max(far, ramp(decades(s.turnover), at.TURNOVER))
    return max(min(far, ramp(left, at.UNLEARNT)), min(step, ramp(left, at.RISE)))


def too_small(s: Symptoms, exploding: Finding) -> Finding:
    """There is a slope, and hardly a step down it: not since gradients explode."""
    evidence = [pace(s)]
    if s.travel < 10 ** at.TRAVEL[0]:
        evidence.append(
            f"All steps of that half together are {s.travel:.1e} of the parameters' norm "
            f"({s.turnover:.1e} a step; usual: 1e-4 to 1e-2)."
        )
    if s.cosine > at.COHERENT[0]:
        evidence.append(
            f"Successive gradients agree (cosine {s.cosine:.2f}): longer steps would go "
            "the same way."
        )
    if s.bounce > 0:
        evidence.append(
            f"Curvature x update / gradient is {s.bounce:.1e}; 1 would still be stable."
        )
    elif math.isnan(s.bounce):
        evidence.append(
            "Without the curvature a badly conditioned valley looks the same."
        )
    straight = ramp(s.cosine, at.COHERENT)
    short = ramp(decades(s.travel), at.TRAVEL)
    if s.bounce > 0:
        short = min(max(short, straight), ramp(decades(s.bounce), at.FAR_FROM_LIMIT))
    slope = min(1 - small_gradient(s), 1 - exploding.score)
    score = min(stalled(s), 1 - annealing(s), slope, short)
    return Finding("rate too small", score, tuple(evidence))


def ill_conditioned(s: Symptoms) -> Finding:
    """The rate is at the steepest direction's limit, and along others the loss crawls."""
    evidence = [pace(s)]
    if s.cosine > at.COHERENT[0]:
        evidence.append(f"Successive gradients agree (cosine {s.cosine:.2f}).")
    elif s.cosine < at.OPPOSED[0]:
        evidence.append(
            f"Successive gradients oppose each other (cosine {s.cosine:.2f}), and yet "
            "the loss falls, slowly: a zig-zag along a valley."
        )
    if s.bounce > 0:
        evidence.append(
            f"Curvature x update / gradient is {s.bounce:.2f}: longer steps would bounce "
            "off the steepest walls."
        )
    limited = min(ramp(s.cosine, at.COHERENT), ramp(decades(s.bounce), at.AT_LIMIT))
    score = min(
        stuck(s),
        max(limited, crawls(s, ramp(s.cosine, at.OPPOSED))),
        1 - small_gradient(s),
    )
    return Finding("ill-conditioned", score, tuple(evidence))
