"""How fast a run trained, and what share of its device that was."""

import statistics
from collections.abc import Callable
from typing import Any

import jax

from optix_tricks.training._chips import chip_of


class Speed:
    """Examples a second by epochs or parts of them, without the first, which compiles."""

    def __init__(self, batch_size: int, *, devices: int = 1):
        self.batch_size = batch_size
        self.devices = devices
        self._rates: list[float] = []
        self._waits: list[float] = []

    def add(self, steps: int, seconds: float, *, waited: float | None = None) -> None:
        """Count an epoch, or a part of one between two looks at what to save.

        Args:
          steps: of it.
          seconds: that it took.
          waited: how many of them for batches, where these are streamed.
        """
        self._rates.append(steps * self.batch_size / seconds)
        if waited is not None:
            self._waits.append(waited / seconds)

    def as_json(self, flops: Callable[[], int], device: Any = None) -> dict[str, Any]:
        """Return what is known by name, nothing of what is not.

        Args:
          flops: counts the operations of a step (`matrix_flops`); called only where the
            device's peak, in bfloat16, is known.
          device: that trained; JAX's first by default.
        """
        if not self._rates:
            return {}
        device = jax.local_devices()[0] if device is None else device
        rate = statistics.median(self._rates[1:] or self._rates)
        found: dict[str, Any] = {
            "device": device.device_kind,
            "examples_per_second": rate,
            "timed_parts": len(self._rates),
        }
        if self._waits:
            share = statistics.median(self._waits[1:] or self._waits)
            found["waiting_share"] = share
        if chip := chip_of(device.device_kind):
            peak = chip.flops * self.devices
            found["share_of_peak"] = rate / self.batch_size * flops() / peak
        if memory := device.memory_stats():
            found["peak_memory_bytes"] = memory["peak_bytes_in_use"]
        return found
