"""A bound on the time of a step from what it computes and moves. Nothing has run."""

from typing import NamedTuple

from optix_tricks.ahead._facts import Facts
from optix_tricks.training import Chip


class Estimate(NamedTuple):
    """No measurement: launches, waiting, links between chips are not in it."""

    arithmetic: float  # seconds of matrix products at the chip's peak
    transfer: float  # seconds of all bytes at the full bandwidth of its memory

    @property
    def seconds(self) -> float:
        """The least that a step can take."""
        return max(self.arithmetic, self.transfer)

    @property
    def bound(self) -> str:
        """What decides: "arithmetic" or "memory"."""
        return "arithmetic" if self.arithmetic > self.transfer else "memory"


def roofline(facts: Facts, flops: float, chip: Chip) -> Estimate:
    """Return the time below which no step comes, max(flops / peak, bytes / bandwidth).

    Args:
      facts: of one device's program.
      flops: of matrix products and convolutions on one device; see `matrix_flops`.
      chip: what the device does at the most, by its data sheet.

    Source: "Roofline: an insightful visual performance model for multicore
    architectures", Williams, Waterman and Patterson, 2009.
    """
    return Estimate(flops / chip.flops, facts.bytes / chip.bandwidth)
