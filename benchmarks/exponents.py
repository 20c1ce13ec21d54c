"""How a cost grows: the exponent of a power law through measured points."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class PowerLaw(NamedTuple):
    """y = factor * x ** exponent, fitted to `points` points from `first` to `last`."""

    factor: float
    exponent: float
    error: float  # standard error of the exponent; NaN of two points
    first: float
    last: float
    points: int


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Least squares of log y = log factor + exponent * log x.

    Args:
      x: sizes, positive.
      y: their costs, positive.

    Returns:
      The law. The standard error is that of a slope: of the residuals' variance with two
      degrees of freedom gone.

    Raises:
      ValueError: if there are fewer than two points.
    """
    if len(x) < 2:
        raise ValueError(f"x must have at least two points, got {len(x)}.")
    u, v = np.log(x), np.log(y)
    centred = u - u.mean()
    exponent = float(centred @ v / (centred @ centred))
    level = float(v.mean() - exponent * u.mean())
    residuals = v - level - exponent * u
    free = len(u) - 2
    variance = residuals @ residuals / free if free else np.nan
    error = float(np.sqrt(variance / (centred @ centred)))
    return PowerLaw(np.exp(level).item(), exponent, error, x[0], x[-1], len(x))


def above_floor(y: Sequence[float], *, times: float = 2.0, least: int = 3) -> slice:
    """The last points, from the first that costs so many times the cheapest one on.

    Small sizes cost what a call costs, whatever their size: no power law goes through
    them. At least so many points are kept.

    >>> above_floor([1.0, 1.1, 1.5, 4.0, 9.0, 20.0])
    slice(3, 6, None)
    """
    low = times * min(y)
    start = next((i for i in range(len(y)) if min(y[i:]) >= low), len(y))
    return slice(max(min(start, len(y) - least), 0), len(y))
