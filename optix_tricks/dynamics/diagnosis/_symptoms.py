"""Numbers that a history comes to: pace, gradient, steps, all without dimension."""

import math
import warnings
from typing import NamedTuple

import numpy as np

from optix_tricks.dynamics.diagnosis._history import History
from optix_tricks.dynamics.diagnosis._thresholds import BLOCKS, NOISE_TAKEN_OUT


class Trend(NamedTuple):
    """A line through block medians of log x."""

    fall: float  # 1 - end / start of the line; negative for a rise
    error: float  # its standard error
    certainty: float  # the line's slope in its standard errors, positive for a fall


class Symptoms(NamedTuple):
    """Of the second half of the rows, if not said otherwise; nan for what is unknown."""

    rows: int  # finite losses, of the whole history
    first: float  # loss at the start of the history: row 1, or the median of 3 if lower
    level: float  # loss at the end
    highest: float  # the largest loss of the whole history over the first
    fall: float  # relative fall of the loss
    fall_error: float  # its standard error
    certainty: float  # slope / standard error of log loss, positive for a fall
    is_finite: bool  # whether the last loss is a number
    accuracy: float  # at the end
    alternation: float  # correlation of successive changes of the loss
    gradient: float  # median norm
    gradient_fall: float  # its relative fall
    gradient_left: float  # that over its largest block median of the whole history
    product: float  # |gradient| |parameters| / loss, as logged
    pull: float  # the same, noise taken out of the gradient as far as it can be known
    burst: float  # |gradient| / |parameters|
    turnover: float  # |update| / largest |parameters| of the history
    travel: float  # sum of |update| over all steps / largest |parameters|
    blown_up: float  # |parameters| over that of the first row
    cosine: float  # mean over steps of that of successive gradients
    bounce: float  # curvature |update| / |gradient|
    lowest_curvature: float  # over the largest in absolute value
    noise_over_batch: float  # noise scale / batch size
    rate_left: float  # learning rate at the end over its peak
    rate_growth: float  # learning rate at the end over that in the middle


def measure(history: History) -> Symptoms:
    """Measure the symptoms of a checked history."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of all-nan columns
        return _measure(history)


def _measure(history: History) -> Symptoms:
    loss = history.loss
    rows = len(loss)
    late = slice(rows // 2, None)
    unknown = np.full(rows, np.nan)
    known = {n: unknown if x is None else x for n, x in history._asdict().items()}
    gradient, update = known["gradient_norm"], known["update_norm"]
    parameter, rate = known["parameter_norm"], known["learning_rate"]
    pace = trend(loss[late])
    seen = loss[np.isfinite(loss)]
    assert history.step is not None
    spacing = float(np.median(np.diff(history.step))) if rows > 1 else math.nan
    largest = np.nanmax(parameter) if np.isfinite(parameter).any() else math.nan
    is_every_step = spacing == 1
    top = np.nanmax(rate) if np.isfinite(rate).any() else math.nan
    lowest = np.nanmedian(known["lowest_curvature"][late])
    first = min(seen[0], float(np.median(seen[:3]))) if len(seen) else math.nan
    noise = float(np.nanmedian((known["noise_scale"] / known["batch_size"])[late]))
    taken_out = min(max(noise, 0.0), NOISE_TAKEN_OUT) if math.isfinite(noise) else 0.0
    product = float(np.nanmedian((gradient * parameter / np.abs(loss))[late]))
    return Symptoms(
        rows=len(seen),
        first=first,
        highest=float(np.max(seen)) / first if first > 0 else math.nan,
        level=block_medians(loss[late])[-1],
        fall=pace.fall,
        fall_error=pace.error,
        certainty=pace.certainty,
        is_finite=bool(np.isfinite(loss[-1])),
        accuracy=block_medians(known["accuracy"][late])[-1],
        alternation=_alternation(loss[late]) if is_every_step else math.nan,
        gradient=float(np.nanmedian(gradient[late])),
        gradient_fall=trend(gradient[late]).fall,
        gradient_left=_last(gradient) / np.nanmax([*block_medians(gradient), 0.0]),
        product=product,
        pull=product / math.sqrt(1 + taken_out),
        burst=float(np.nanmedian((gradient / parameter)[late])),
        turnover=float(np.nanmedian(update[late])) / largest,
        travel=float(np.nanmean(update[late]))
        * (history.step[-1] - history.step[rows // 2] + spacing)
        / largest,
        blown_up=_last(parameter) / parameter[0],
        cosine=float(np.nanmean(known["gradient_cosine"][late])),
        bounce=float(np.nanmedian((known["curvature"] * update / gradient)[late])),
        lowest_curvature=float(lowest / np.nanmedian(np.abs(known["curvature"][late]))),
        noise_over_batch=noise,
        # Optax's linear schedule ends a rounding below zero.
        rate_left=max(_last(rate), 0.0) / top if top > 0 else math.nan,
        rate_growth=_last(rate) / rate[rows // 2] if rate[rows // 2] > 0 else math.nan,
    )


def block_medians(values: np.ndarray) -> list[float]:
    """Medians of twelve blocks of rows, nan left out.

    >>> block_medians(np.arange(24.0))[:2]
    [0.5, 2.5]
    """
    blocks = np.array_split(values, min(BLOCKS, max(len(values), 1)))
    return [
        float(np.median(b[np.isfinite(b)])) if np.isfinite(b).any() else math.nan
        for b in blocks
    ]


def trend(values: np.ndarray) -> Trend:
    """Fit the fall of a noisy positive column, safe against outliers and correlation.

        y_i = log median(block i),  slope = median (y_j - y_i) / (j - i)  (Theil, Sen)
        fall = 1 - exp(slope n),  error = (1 - fall) n s / sqrt(sum (i - mean)^2) c

    Medians over blocks take rows' noise and its short correlation out; s is the
    standard deviation of the residuals, and c = sqrt((1 + r) / (1 - r)) with their
    correlation r from block to block widens the error for what is left. A column that
    is not positive is taken as it is, in units of its range.

    >>> print(f"{trend(np.exp(-np.linspace(0, 1, 120))).fall:.1f}")
    0.6
    """
    y = np.asarray(block_medians(values))
    at = np.flatnonzero(np.isfinite(y))
    y = y[at]
    if len(y) < 4:
        return Trend(math.nan, math.nan, math.nan)
    is_positive = bool((y > 0).all())
    if is_positive:
        y = np.log(y)
    else:
        spread = float(np.ptp(values[np.isfinite(values)]))
        y = y / spread if spread else y
    i, j = np.triu_indices(len(y), 1)
    slope = float(np.median((y[j] - y[i]) / (at[j] - at[i])))
    residual = y - slope * at
    residual = residual - residual.mean()
    scale = math.sqrt(float(residual @ residual) / (len(y) - 2))
    power = float(residual @ residual)
    r = float(residual[1:] @ residual[:-1]) / power if power else 0.0
    r = min(max(r, 0.0), 0.8)
    length = float(at[-1] - at[0] + 1)
    error = length * scale / math.sqrt(float(np.sum((at - at.mean()) ** 2)))
    error *= math.sqrt((1 + r) / (1 - r))
    certainty = -slope * length / max(error, 1e-12)
    if not is_positive:
        return Trend(-slope * length, error, certainty)
    kept = math.exp(min(slope * length, 50.0))
    return Trend(1 - kept, kept * error, certainty)


def _alternation(loss: np.ndarray) -> float:
    change = np.diff(loss)
    one, two = change[:-1], change[1:]
    both = np.isfinite(one) & np.isfinite(two)
    one, two = one[both], two[both]
    power = math.sqrt(float(one @ one) * float(two @ two))
    return float(one @ two) / power if power > 0 else math.nan


def _last(values: np.ndarray) -> float:
    """The last block's median, the last value of a short column."""
    finite = values[np.isfinite(values)]
    return (
        float(np.median(finite[-max(1, len(finite) // 24) :]))
        if len(finite)
        else math.nan
    )
