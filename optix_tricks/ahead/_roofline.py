"""A bound on the time of a step from what it computes and moves. Nothing has run."""

from typing import NamedTuple

from optix_tricks.ahead._facts import Facts
from optix_tricks.training import Chip


class Estimate(NamedTuple):
    """No measurement: launches and waiting are not in it."""

    arithmetic: float  # seconds of matrix products at the chip's peak
    transfer: float  # seconds of all bytes at the full bandwidth of its memory
    exchange: float  # seconds of what collectives send at that of its links

    @property
    def seconds(self) -> float:
        """The least that a step can take: all three at once."""
        return max(self)

    @property
    def serial(self) -> float:
        """What a step takes where none of the three hides another."""
        return sum(self)

    @property
    def bound(self) -> str:
        """What decides: "arithmetic", "memory" or "network"."""
        names = "arithmetic", "memory", "network"
        return names[self.index(self.seconds)]


def roofline(facts: Facts, flops: float, chip: Chip) -> Estimate:
    """Return the time below which no step comes.

        max(flops / peak, bytes / bandwidth of memory, bytes sent / bandwidth of links)

    Args:
      facts: of one device's program.
      flops: of matrix products and convolutions on one device; see `matrix_flops`.
      chip: what the device does at the most, by its data sheet; `target_chip` has the
        links that a topology uses.

    Source: "Roofline: an insightful visual performance model for multicore
    architectures", Williams, Waterman and Patterson, 2009.
    """
    sent = sum(each.sent for each in facts.collectives)
    return Estimate(flops / chip.flops, facts.bytes / chip.bandwidth, sent / chip.links)
