"""Which part of a batch a process makes, and how the parts become one array."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from optix_tricks._tree import PyTree


def part_here(sharding: Any, batch_size: int) -> tuple[int, int]:
    """Return which part of a batch this process makes, and of how many.

    Args:
      sharding: of the batch; what lies in this process alone is made by it alone.
      batch_size: examples of the whole batch.

    Raises:
      ValueError: if the rows of this process's devices are no equal part of the batch.
    """
    if not isinstance(sharding, Sharding) or sharding.is_fully_addressable:
        return 0, 1
    held = sharding.addressable_devices_indices_map((batch_size,)).values()
    bounds = sorted({at[0].indices(batch_size)[:2] for at in held if at is not None})
    start, stop = bounds[0][0], bounds[-1][1]
    size = stop - start
    if batch_size % size or start % size or sum(b - a for a, b in bounds) != size:
        raise ValueError(
            "sharding must give each process one part of the batch, all alike, got rows"
            f" {start} to {stop} of {batch_size} here: order the devices by process."
        )
    return start // size, batch_size // size


def put_part(batch: PyTree, sharding: Any, batch_size: int) -> PyTree:
    """Put this process's part of a batch on its devices; return the whole as arrays."""

    def put(x: np.ndarray) -> jax.Array:
        if not isinstance(sharding, Sharding) or sharding.is_fully_addressable:
            return jax.device_put(x, sharding)
        whole = (batch_size, *x.shape[1:])
        return jax.make_array_from_process_local_data(sharding, x, whole)

    return jax.tree.map(put, batch)


def check_divides(sharding: Sharding, batch_size: int) -> None:
    """Raise ValueError unless the devices divide the batch."""
    try:
        sharding.shard_shape((batch_size,))
    except ValueError as error:
        raise ValueError(
            f"batch_size must be a multiple of the {len(sharding.device_set)} devices "
            f"over whose first axis sharding splits it, got {batch_size}."
        ) from error
