"""The table: every public transformation, one row each, sorted by family."""

import functools

from cases import (
    adam,
    clipping,
    decay,
    gradients,
    layerwise,
    momentum,
    plateau,
    rms,
    second_order,
    wrappers_a,
    wrappers_b,
)
from cases.row import Case, with_a_loss
from optix_tricks.testing import TransformationSubject

__all__ = [
    "CASES",
    "LINKS",
    "OPTIMISERS",
    "SECOND_ORDER",
    "WRAPPERS",
    "Case",
    "subject",
    "with_a_loss",
]

FAMILIES = [
    momentum,
    rms,
    adam,
    layerwise,
    decay,
    clipping,
    gradients,
    plateau,
    wrappers_a,
    wrappers_b,
    second_order,
]
LINKS: list[Case] = [case for family in FAMILIES for case in family.LINKS]
OPTIMISERS: list[Case] = [case for family in FAMILIES for case in family.OPTIMISERS]
WRAPPERS: list[Case] = wrappers_a.WRAPPERS + wrappers_b.WRAPPERS
SECOND_ORDER: list[Case] = second_order.SECOND_ORDER
CASES = LINKS + OPTIMISERS + WRAPPERS + SECOND_ORDER


@functools.cache
def subject(name: str) -> TransformationSubject:
    """A row as the columns of the contract see it; what they share is made once."""
    case = {case.name: case for case in CASES}[name]
    return TransformationSubject(
        case.factory,
        case.given,
        updates_dtype=case.updates_dtype,
        looks_ahead=case.looks_ahead,
        roundings=case.roundings,
        name=f"cases.subject({name!r}).factory",
    )
