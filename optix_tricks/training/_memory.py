"""How much memory there is, and how much of it data may take."""

import os
import re
from pathlib import Path
from typing import Any

import jax

SHARE = 0.25  # of a memory, at most, for data
UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30}
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def machine_memory() -> int:
    """Bytes of the machine, or of the container where that has less."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(pages, int(LIMIT.read_text()))
    except (OSError, ValueError):  # there is none, or it says "max"
        return pages


def device_memory(device: Any, *, sharing: int = 1) -> int | float:
    """Bytes of a device; those of the CPU, `sharing` of them, share the machine's."""
    told = device.memory_stats()
    return told["bytes_limit"] if told else machine_memory() / sharing


def room_for_data() -> int:
    """Bytes that data may take: a quarter of what the machine, or a device, has."""
    device = jax.local_devices()[0]
    return int(SHARE * min(machine_memory(), device_memory(device)))


def read_memory(said: str) -> int:
    """Read `512MB`, `16GB` or `1.5TB`, or in powers of two `8GiB`.

    >>> read_memory("1.5GB")
    1500000000

    Raises:
      ValueError: if it is none of these.
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(MB|GB|TB|MiB|GiB)", said)
    if match is None or not float(match[1]):
        raise ValueError(f"memory must be like 512MB, 16GB or 8GiB, got {said!r}.")
    return int(float(match[1]) * UNITS[match[2]])
