"""Symptoms of a run that is stuck for sure, of which nothing else is known."""

import math

from optix_tricks.dynamics.diagnosis._symptoms import Symptoms

UNKNOWN = dict.fromkeys(Symptoms._fields, math.nan)
STUCK = Symptoms(
    **UNKNOWN
    | {
        "rows": 10_000,
        "first": 1.0,
        "level": 0.5,
        "highest": 1.0,
        "fall": 0.0,
        "fall_error": 0.0,
        "certainty": 0.0,
        "is_finite": True,
    }
)


def stuck(**changes):
    return STUCK._replace(**changes)


def at_share(pair, share):
    """The number that scores this share of a threshold's pair."""
    low, high = pair
    return low + share * (high - low)


def power(pair, share):
    """The same of a pair of powers of ten."""
    return 10 ** at_share(pair, share)
