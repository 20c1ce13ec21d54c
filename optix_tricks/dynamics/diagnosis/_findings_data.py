"""Verdicts on the data: over-fitting, and batches far from the noise scale."""

import math

import numpy as np

from optix_tricks.dynamics.diagnosis import _thresholds as at
from optix_tricks.dynamics.diagnosis._finding import (
    Finding,
    annealing,
    at_optimum,
    fell,
    pace,
    small_gradient,
    stuck,
)
from optix_tricks.dynamics.diagnosis._findings_rate import blown_up
from optix_tricks.dynamics.diagnosis._history import History
from optix_tricks.dynamics.diagnosis._symptoms import Symptoms
from optix_tricks.dynamics.diagnosis._thresholds import decades, ramp


def over_fitting(s: Symptoms, history: History) -> Finding:
    """The training set is learnt by heart."""
    tests = history.test_loss
    finite = np.array([]) if tests is None else tests[np.isfinite(tests)]
    if len(finite) < at.TESTS:
        return Finding("over-fitting", 0.0, ())
    smooth = [float(np.median(finite[max(0, i - 2) : i + 1])) for i in range(len(finite))]
    best, last = min(smooth[2:]), smooth[-1]
    rise = last / best - 1 if best > 0 else math.nan
    accuracies = history.test_accuracy
    gap = math.nan
    if accuracies is not None and np.isfinite(accuracies).any():
        gap = s.accuracy - float(np.nanmedian(accuracies[-3:]))
    evidence = [
        pace(s),
        f"The test loss, as the median of three tests, is {last:.4g}, "
        f"{max(rise, 0):.0%} above its best.",
    ]
    if math.isnan(gap):
        wide = decades(last / s.level) if s.level > 0 else math.nan
        score = min(ramp(rise, at.TEST_RISE), ramp(wide, at.LOSS_GAP))
    else:
        evidence.append(f"Accuracy is {gap:.1%} higher in training than in the test.")
        rising = min(ramp(rise, at.TEST_RISE), ramp(gap, at.SMALL_GAP))
        score = max(rising, ramp(gap, at.LARGE_GAP))
    score = min(score, 1 - blown_up(s))  # which raises both losses
    return Finding("over-fitting", score, tuple(evidence))


def noise_floor(s: Symptoms) -> Finding:
    """Noise moves the weights as much as the slope does: the loss stays where it is."""
    evidence = [pace(s)]
    unrelated = ramp(abs(s.cosine), at.UNRELATED)
    if unrelated:
        evidence.append(
            f"Successive gradients have little in common (cosine {s.cosine:.2f}), though "
            f"the gradient's norm is not small ({s.gradient:.2g})."
        )
    noisy = ramp(decades(s.noise_over_batch), at.NOISE_ABOVE_BATCH)
    if noisy:
        evidence.append(
            f"The noise scale is {s.noise_over_batch:.1f} times the batch: that part of "
            "the gradient's square is noise."
        )
    score = min(
        stuck(s),
        max(unrelated, noisy),
        1 - small_gradient(s),
        1 - annealing(s),
        ramp(fell(s), at.FELL),
        1 - ramp(decades(s.turnover), at.TURNOVER),
    )
    return Finding("noise floor", score, tuple(evidence))


def batch_too_large(s: Symptoms) -> Finding:
    """Examples are spent on an average that is sharp already."""
    inverse = 1 / s.noise_over_batch if s.noise_over_batch > 0 else math.nan
    evidence = (
        pace(s),
        f"The batch is {inverse:.0f} times the noise scale: a batch of that scale would "
        "need twice the steps, at a fraction of the examples.",
    )
    score = min(ramp(decades(inverse), at.BATCH_ABOVE_NOISE), 1 - at_optimum(s))
    return Finding("batch too large", score, evidence)
