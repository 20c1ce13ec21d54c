"""How long each layer's weights were at the start of a run, and at its end."""

from typing import Any

import jax
import numpy as np

from optix_tricks._packed import unpacked
from optix_tricks._paths import Arrays, named_leaves


def layer_norms(start: Arrays, end: Arrays) -> list[dict[str, Any]]:
    """Return name, shape and both norms of each array of parameters.

    Args:
      start: as they were drawn or loaded.
      end: as they were trained; packed or not.

    Examples:
      >>> layer_norms({"w": np.array([3.0, 4.0])}, {"w": np.array([0.0, 1.0])})
      [{'name': 'w', 'shape': [2], 'start': 5.0, 'end': 1.0}]
    """
    first, last = (
        {leaf.name: leaf.value for leaf in named_leaves(unpacked(x))}
        for x in (start, end)
    )
    return [
        {
            "name": name,
            "shape": list(x.shape),
            "start": _norm(first[name]) if name in first else None,
            "end": _norm(x),
        }
        for name, x in last.items()
    ]


def _norm(x: Any) -> float:
    return float(np.linalg.norm(np.asarray(jax.device_get(x), np.float64)))
