"""Verdicts on depth: gradients that vanish or explode, units that are silent."""

import numpy as np

from optix_tricks.dynamics.diagnosis import _thresholds as at
from optix_tricks.dynamics.diagnosis._finding import (
    Finding,
    fell,
    improving,
    pace,
    small_gradient,
    stuck,
)
from optix_tricks.dynamics.diagnosis._findings_rate import blown_up
from optix_tricks.dynamics.diagnosis._history import History
from optix_tricks.dynamics.diagnosis._symptoms import Symptoms
from optix_tricks.dynamics.diagnosis._thresholds import decades, ramp


def by_depth(history: History) -> tuple[float, list[tuple[str, float]]]:
    """Fit how the gradients of layers change from the last to the first.

    Returns:
      The fitted change in decades, negative where gradients vanish towards the input,
      nan for fewer than four layers; and each layer's median of gradient norm /
      parameter norm over the last rows before the loss was lost.
    """
    gradients = history.layer_gradient_norm or {}
    parameters = history.layer_parameter_norm or {}
    seen = np.flatnonzero(np.isfinite(history.loss))
    late = seen[len(seen) // 2 :]
    sizes = []
    for name, gradient in gradients.items():
        ratio = (
            gradient[late] / parameters[name][late]
            if name in parameters
            else gradient[late]
        )
        ratio = ratio[np.isfinite(ratio)]
        if len(ratio) and np.median(ratio) > 0:  # what is frozen has none
            sizes.append((name, float(np.median(ratio))))
    if len(sizes) < at.MIN_LAYERS:
        return float("nan"), sizes
    y = np.log10([size for _, size in sizes])
    i, j = np.triu_indices(len(y), 1)
    return -float(np.median((y[j] - y[i]) / (j - i))) * (len(y) - 1), sizes


def vanishing(s: Symptoms, history: History) -> Finding:
    """Gradients shrink from the last layer to the first."""
    change, sizes = by_depth(history)
    by_far = ramp(-change, at.VANISHED)
    cut_off = min(stuck(s), 1 - small_gradient(s))  # where all are small it is a saddle
    score = min(ramp(-change, at.DEPTH_RATIO), max(cut_off, by_far), 1 - _learning(s))
    score = min(score, 1 - blown_up(s))  # which saturates units
    return Finding("vanishing gradients", score, (pace(s), *_ends(change, sizes)))


def exploding(s: Symptoms, history: History) -> Finding:
    """Gradients grow from the last layer to the first, or are out of all proportion."""
    change, sizes = by_depth(history)
    burst = ramp(decades(s.burst), at.BURST)
    depth = min(ramp(change, at.DEPTH_RATIO), 1 - _learning(s))
    evidence = [pace(s), *_ends(change, sizes)]
    if burst:
        evidence.append(
            f"The gradient's norm is {s.burst:.1e} times the parameters' (usual: 1e-3 "
            "to 10)."
        )
    return Finding("exploding gradients", max(depth, burst), tuple(evidence))


def _learning(s: Symptoms) -> float:
    return min(improving(s), ramp(fell(s), at.LEARNT))


def _ends(change: float, sizes: list[tuple[str, float]]) -> list[str]:
    if np.isnan(change):
        return []
    (first, low), (last, high) = sizes[0], sizes[-1]
    return [
        f"Gradient norm / parameter norm is {low:.1e} in {first} and {high:.1e} in "
        f"{last}: over {len(sizes)} layers a trend of 10^{change:.1f} towards the input."
    ]


def dead_units(s: Symptoms, history: History) -> Finding:
    """Units of a layer are silent on whole batches."""
    silent = {
        name: float(np.nanmedian(x[len(x) // 2 :]))
        for name, x in (history.dead_fraction or {}).items()
        if np.isfinite(x[len(x) // 2 :]).any()
    }
    if not silent:
        return Finding("dead units", 0.0, ())
    worst = max(silent, key=lambda name: silent[name])
    dead = silent[worst]
    score = max(min(stuck(s), ramp(dead, at.DEAD)), ramp(dead, at.SILENT))
    score = min(score, 1 - blown_up(s))  # which kills units: the rate is at fault then
    seen = f"In {worst} {dead:.0%} of the units are silent on the whole batch."
    return Finding("dead units", score, (pace(s), seen))
