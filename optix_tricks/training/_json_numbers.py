"""Numbers that JSON does not have, as null."""

import math
from typing import Any

import numpy as np


def finite(row: dict[str, Any]) -> dict[str, Any]:
    """Replace numbers that JSON does not have by null."""
    return {
        name: None if isinstance(x, float) and not math.isfinite(x) else x
        for name, x in row.items()
    }


def strict(x: Any) -> Any:
    """Replace numbers that JSON does not have by null, however deep."""
    if isinstance(x, dict):
        return {name: strict(value) for name, value in finite(x).items()}
    if isinstance(x, list | tuple):
        return [strict(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def finite_lists(x: Any) -> Any:
    """Nested lists of an array's numbers, with None for those that JSON does not have."""
    values = np.array(x, object)
    values[~np.isfinite(x)] = None
    return values.tolist()
