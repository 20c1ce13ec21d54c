"""Losses: arrays of outputs and labels to one loss per example.

| name | loss |
|---|---|
| `cross_entropy` | softmax cross-entropy, integer or dense labels, label smoothing |

Reductions belong to the caller. Losses are computed in float32, or in float64 if given.
"""

from optix_tricks.losses._cross_entropy import cross_entropy

__all__ = ["cross_entropy"]
