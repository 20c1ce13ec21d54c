"""Devices that compile and do not run: TPUs by their topology, NVIDIA's by a description.

XLA needs of a GPU what it would ask the driver for; here that is written down.
"""

import os
import re
from typing import Any

from jax.experimental import topologies

from optix_tricks._extras import pip_line

SMALLEST = {"v4": "2x2x1", "v5e": "2x2", "v5p": "2x2x1", "v6e": "2x2"}  # of one host
TPU = {  # libtpu asks the machine's metadata server, and locks, unless these are set
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # nothing runs: several processes may compile
}
# Limits of compute capability 9.0: the table of the CUDA programming guide. Of the chip:
# the white paper "NVIDIA H100 Tensor Core GPU Architecture", SXM5: 132 multiprocessors of
# 128 float32 units, 50 MB of L2. Clocks, bus and grid as CUDA's deviceQuery prints them.
BUS_BITS, MEMORY_CLOCK = 5120, 2619e6  # two transfers a clock
H100 = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "shared_memory_per_block": 48 * 1024,
    "shared_memory_per_core": 228 * 1024,
    "shared_memory_per_block_optin": 227 * 1024,
    "threads_per_core_limit": 2048,
    "registers_per_core_limit": 64 * 1024,
    "registers_per_block_limit": 64 * 1024,
    "core_count": 132,
    "fpus_per_core": 128,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 2**16 - 1,
    "block_dim_limit_z": 2**16 - 1,
    "memory_bandwidth": round(2 * MEMORY_CLOCK * BUS_BITS / 8),
    "l2_cache_size": 50 * 2**20,
    "clock_rate_ghz": 1.98,
    "device_memory_size": 85_045_477_376,
    "cuda_compute_capability": "{ major: 9 feature_extension: ACCELERATED_FEATURES }",
}
H100_TARGET = (
    "gpu_device_info { "
    + " ".join(
        f"{name} {x}" if isinstance(x, str) else f"{name}: {x}"
        for name, x in H100.items()
    )
    + ' } platform_name: "CUDA"'
    + " dnn_version_info { major: 9 minor: 10 patch: 0 }"  # what JAX's plug-in asks for
    + ' device_description_str: "NVIDIA H100 80GB HBM3"'
)


def compile_only_devices(target: str) -> list[Any]:
    """Return devices to compile for, which need not be there and run nothing.

    Programs for a GPU are not tuned: convolutions and matrix products have the default
    algorithms. Kernels, calls of cuDNN and collectives are those that would run.

    Args:
      target: "h100" for one or "h100:8" for several in one machine; "v4", "v5e", "v5p" or
        "v6e" for one TPU chip, or with a topology, such as "v5e:4x4".

    Returns:
      JAX devices for a mesh or a sharding.

    Raises:
      ValueError: if there is no such target.
      RuntimeError: if the plug-in that compiles for it is not installed. Names the way.
    """
    kind, shape = kind_and_shape(target)
    if kind == "h100":
        return _gpus(int(shape or 1))
    devices = _tpus(target, f"{kind}:{shape or SMALLEST[kind]}")
    return devices if shape else devices[:1]


def kind_and_shape(target: str) -> tuple[str, str]:
    """Return a target's two parts.

    Raises:
      ValueError: if there is no such target.
    """
    kind, _, shape = target.partition(":")
    pattern = r"[1-9]\d*|" if kind == "h100" else r"[1-9]\d*(x[1-9]\d*)+|"
    if kind not in ("h100", *SMALLEST) or not re.fullmatch(pattern, shape):
        raise ValueError(
            f"target must be h100, h100:COUNT, {', '.join(SMALLEST)} or one of these with"
            f" a topology, such as v5e:4x4, got {target!r}."
        )
    return kind, shape


def _gpus(count: int) -> list[Any]:
    try:
        return topologies.get_topology_desc(
            platform="cuda",
            topology_name="",
            target_config=H100_TARGET,
            topology=f"1x1x{count}",
        ).devices
    except NotImplementedError as error:
        raise RuntimeError(
            f"JAX's plug-in for CUDA, which compiles for an h100, is missing:"
            f" {pip_line('jax_cuda13_plugin')}."
        ) from error


def _tpus(target: str, topology: str) -> list[Any]:
    for name, value in TPU.items():
        os.environ.setdefault(name, value)
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    except RuntimeError as error:
        if "not installed" in str(error):
            raise RuntimeError(
                f"libtpu, which compiles for a {target}, is missing:"
                f" {pip_line('libtpu')}."
            ) from error
        if "INVALID_ARGUMENT" not in str(error):
            raise
        first = str(error).splitlines()[0]
        raise ValueError(
            f"target must be a topology that libtpu knows, such as v5e:4x4, got"
            f" {target!r}: {first}."
        ) from error
    return found.devices
