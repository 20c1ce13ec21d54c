"""What accelerators do at the most, by the vendors' data sheets."""

from typing import NamedTuple


class Chip(NamedTuple):
    """One device and its links to others."""

    flops: float  # dense bfloat16, 1/s
    bandwidth: float  # of its main memory, bytes/s
    memory: float  # bytes
    links: float  # bytes/s that it sends over all its links at once, in one direction


# TPUs: "System architecture" of each version, cloud.google.com/tpu/docs. Of the links'
# bidirectional bandwidth, 400, 1200 and 800 GB/s of v5e, v5p and v6e, one half; of v4 the
# all-reduce bandwidth of a pod, 1.1 PB/s, by its 4,096 chips.
# GPUs: the data sheets "NVIDIA H100", "NVIDIA H200" and "NVIDIA A100"; dense, SXM. Of
# NVLink's 900 and 600 GB/s one half.
CHIPS = {
    "v4": Chip(275e12, 1228e9, 32e9, 270e9),
    "v5e": Chip(197e12, 819e9, 16e9, 200e9),
    "v5p": Chip(459e12, 2765e9, 95e9, 600e9),
    "v6e": Chip(918e12, 1640e9, 32e9, 400e9),
    "h100": Chip(989e12, 3.35e12, 80e9, 450e9),
    "h200": Chip(989e12, 4.8e12, 141e9, 450e9),
    "a100-40gb": Chip(312e12, 1555e9, 40e9, 300e9),
    "a100-80gb": Chip(312e12, 2039e9, 80e9, 300e9),
}
KINDS = {  # JAX's `device_kind`
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5": "v5p",
    "TPU v6 lite": "v6e",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H200": "h200",
    "NVIDIA A100-SXM4-40GB": "a100-40gb",
    "NVIDIA A100-SXM4-80GB": "a100-80gb",
}


def chip_of(device_kind: str) -> Chip | None:
    """Return what a device of JAX's name for its kind does, if that is known.

    >>> chip_of("NVIDIA H200").memory
    141000000000.0
    """
    return CHIPS[KINDS[device_kind]] if device_kind in KINDS else None
