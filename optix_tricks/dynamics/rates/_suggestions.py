"""Learning rates that the curve of a range test suggests, or why it suggests none."""

import math
import statistics
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from optix_tricks.dynamics.rates._rate_scan import WINDOW, RangeTest

SIGNIFICANT = 6.0  # standard errors between the ends of a fall or a rise


class RateSuggestion(NamedTuple):
    """One rate, or the reason why there is none."""

    rate: float  # NaN where undecided
    standard_error: float  # decades of the rate; NaN for fewer than two seeds
    seeds: Float[np.ndarray, " seeds"]  # of each seed; NaN where undecided
    reason: str  # why undecided and which end to move; empty where decided


class RateSuggestions(NamedTuple):
    """What three rules make of one curve."""

    steepest: RateSuggestion
    minimum_tenth: RateSuggestion
    valley: RateSuggestion


def suggest_learning_rates(test: RangeTest) -> RateSuggestions:
    """Suggest learning rates from the curve of a range test, with their uncertainty.

        minimum_tenth = m / 10,    m = argmin_r L(r)
        steepest = argmin_(r <= m) dL / d log r
        valley = the middle of the longest falling subsequence of L up to m

    L(r) is the smoothed loss. Each rule reads each seed's curve by itself, up to where
    it diverged. The suggestion is the median of the decided seeds' log-rates, so that
    no single run can move it far, and its standard error sqrt(pi / 2) std / sqrt(n).
    A seed is undecided if its loss does not fall by six standard errors of a smoothed
    value, or neither rises by as much again nor diverges; the suggestion is undecided if
    half of the seeds are. The reason says which end of the range to move.

    Helps as a first peak rate for a schedule that warms up and falls. Does little for
    a constant rate held for long, which has to be lower. Hurts where it is taken for
    more than an order of magnitude: the three rules differ by as much. Cost: no
    gradients; NumPy on the host, not for use under `jax.jit`.

    Args:
        test: of `learning_rate_range_test` or `scan_learning_rates`.

    Returns:
        Three suggestions.

    Raises:
        ValueError: if the test is traced.

    Examples:
        >>> rates = np.geomspace(1e-4, 10, 51)
        >>> x = np.log10(rates)
        >>> curve = 2 - np.exp(-((x + 1) ** 2)) + np.maximum(x, 0) ** 2
        >>> no_error = np.full(51, np.nan)
        >>> test = RangeTest(rates, curve[None], curve[None], curve, no_error, [51], 0.1)
        >>> for name, suggestion in suggest_learning_rates(test)._asdict().items():
        ...     print(name, round(suggestion.rate, 4))
        steepest 0.02
        minimum_tenth 0.01
        valley 0.0025

    Source: "Cyclical Learning Rates for Training Neural Networks", Smith, 2017, section
    3.3; the rules are those of fastai, "fastai: A Layered API for Deep Learning",
    Howard and Gugger, 2020 (valley: ESRI, callback.schedule of fastai 2.3).
    """
    try:
        rates = np.asarray(test.rates, float)
        losses, smoothed = (np.asarray(x, float) for x in (test.losses, test.smoothed))
    except TypeError as error:  # jax.errors.TracerArrayConversionError
        raise ValueError(
            "test must be an array's values, not traced: call suggest_learning_rates "
            "outside jax.jit."
        ) from error
    log_rates = np.log10(rates)
    reasons = [
        _undecided(log_rates, raw, curve, float(test.smoothing))
        for raw, curve in zip(losses, smoothed, strict=True)
    ]

    def by(rule: Callable[[np.ndarray, np.ndarray], float]) -> RateSuggestion:
        found = np.full(len(reasons), np.nan)
        for seed, (curve, reason) in enumerate(zip(smoothed, reasons, strict=True)):
            if not reason:
                counts = np.isfinite(curve)
                found[seed] = rule(log_rates[counts], curve[counts])
        return _over_seeds(found, reasons)

    return RateSuggestions(by(_steepest), by(_minimum_tenth), by(_valley))


def _steepest(log_rates: np.ndarray, curve: np.ndarray) -> float:
    """Before the minimum: networks with norms may recover from a rate that is too large.

    That second fall can be the steeper one.
    """
    slope = np.gradient(curve, log_rates)[: int(np.argmin(curve)) + 1]
    return log_rates[np.argmin(slope)]


def _minimum_tenth(log_rates: np.ndarray, curve: np.ndarray) -> float:
    return log_rates[np.argmin(curve)] - 1


def _valley(log_rates: np.ndarray, curve: np.ndarray) -> float:
    """The rate a third and a sixth into the longest decreasing subsequence.

    Like fastai's, the subsequence may skip steps, and its length is counted back from
    its end. Unlike fastai's it ends at the minimum, else a dip behind it moves the rate.
    """
    curve = curve[: int(np.argmin(curve)) + 1]
    lengths = np.ones(len(curve), int)
    for i in range(1, len(curve)):
        before = lengths[:i][curve[:i] > curve[i]]
        lengths[i] = 1 + before.max(initial=0)
    start, third = len(curve) - 1 - int(lengths[-1]), int(lengths[-1]) / 3
    return log_rates[max(start + int(third) + int(third / 2), 0)]


def _undecided(
    log_rates: np.ndarray, losses: np.ndarray, curve: np.ndarray, smoothing: float
) -> str:
    """Why a seed's curve has no answer; empty if it has."""
    counts = np.isfinite(curve)
    diverged = not counts.all()
    if counts.sum() <= WINDOW:
        return "the loss diverged within the first steps: lower min_rate"
    losses, curve = losses[counts], curve[counts]
    noise = 1.4826 * np.median(np.abs(losses - curve))
    spacing = log_rates[1] - log_rates[0]
    averaged = max(1.0, 2 * math.sqrt(math.pi) * smoothing / spacing)  # losses
    least = SIGNIFICANT * noise / math.sqrt(averaged)
    lowest = int(np.argmin(curve))
    if curve[: lowest + 1].max() - curve[lowest] <= least:
        way_out = "lower min_rate" if diverged else "raise max_rate"
        return f"the loss never fell: {way_out}"
    if not diverged and curve[lowest:].max() - curve[lowest] <= least:
        return "the loss never rose again: raise max_rate"
    return ""


def _over_seeds(found: np.ndarray, reasons: list[str]) -> RateSuggestion:
    decided = found[np.isfinite(found)]
    n = len(decided)
    if 2 * n <= len(found):
        reason = statistics.mode(filter(None, reasons))
        return RateSuggestion(math.nan, math.nan, 10**found, reason)
    error = math.nan
    if n > 1:
        error = math.sqrt(math.pi / 2) * float(np.std(decided, ddof=1)) / math.sqrt(n)
    return RateSuggestion(float(10 ** np.median(decided)), error, 10**found, "")
