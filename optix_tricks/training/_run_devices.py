"""The devices of a run: which, and how its data, its state and its steps lie on them."""

import zlib
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from optix_tricks._paths import named_leaves
from optix_tricks._tree import PyTree
from optix_tricks.training._batch import Batch
from optix_tricks.training._dataset import Dataset
from optix_tricks.training._hosts import HostsError, check_agreement, from_first
from optix_tricks.training._job import Job
from optix_tricks.training._layouts import (
    Layout,
    axis_of,
    over_batch,
    put,
    state_shardings,
)
from optix_tricks.training._memory import SHARE, device_memory
from optix_tricks.training._picture_array import Pictures
from optix_tricks.training._run_directory import PACKAGES
from optix_tricks.training._state import TrainState, create_state

SHARED_CORES = ("cpu",)  # platforms whose every device has all cores already


class Placement(NamedTuple):
    """Where a run lies: on JAX's default device, or on a mesh by a layout."""

    mesh: Mesh | None = None
    layout: Layout = "replicated"

    @property
    def size(self) -> int:
        """How many devices there are."""
        return 1 if self.mesh is None else self.mesh.size

    def data(self, data: Batch) -> Batch:
        """Return training data on the devices: a copy on each if it fits, else parts.

        What is split is filled up with zeros to a multiple of the devices.
        """
        if self.mesh is None:
            return jax.tree.map(jnp.asarray, data)
        if self._fits(data):
            return put(data, self._each(data, NamedSharding(self.mesh, PartitionSpec())))
        missing = -data.size % self.mesh.size

        def filled(x: Any) -> Any:
            if isinstance(x, Pictures):
                return x[np.arange(len(x) + missing) % len(x)]
            return np.pad(x, [(0, missing), *[(0, 0)] * (x.ndim - 1)])

        whole = jax.tree.map(filled, data)
        return put(whole, self._each(whole, over_batch(self.mesh)))

    def tested(self, data: Batch) -> Batch:
        """Return data to test on: a copy on each device if it fits, else as they are.

        What stays as it is, is put on the devices, or decoded, batch by batch.
        """
        may_be_on_host = self.mesh is not None or isinstance(data.inputs, Pictures)
        return data if may_be_on_host and not self._fits(data) else self.data(data)

    def state(self, job: Job) -> TrainState:
        """Make the state before the first step; on a mesh each device makes its part."""

        def new(params: PyTree, batch_stats: PyTree) -> TrainState:
            key = jax.random.key(job.seed)
            return create_state(params, batch_stats, job.tx, key, packed=job.packed)

        weights = job.params, job.batch_stats
        if self.mesh is None:
            return new(*weights)
        weights = jax.device_get(weights)
        shardings = self._shardings(jax.eval_shape(new, *weights))
        return jax.jit(new, out_shardings=shardings)(*weights)

    def begun(
        self,
        job: Job,
        state: TrainState,
        data: Batch,
        on_step: Callable[[int, int], None],
    ) -> TrainState:
        """Return the state from which the first epoch starts.

        What comes before it runs on one device, of each process; the state of the first
        process counts.
        """
        if self.mesh is None:
            return job.begun(state, data, on_step)
        alone = Placement()
        new = job.begun(alone.state(job), alone.data(data), on_step)
        numbers = {name: x for name, x in new._asdict().items() if name != "key"}
        new = new._replace(**from_first(jax.device_get(numbers)))
        return put(new, self._shardings(new))

    @property
    def of_epoch(self) -> dict[str, Any]:
        """What `make_epoch` is told."""
        return {} if self.mesh is None else self._asdict()

    def order(self, order: jax.Array) -> jax.Array | np.ndarray:
        """Return the indices of an epoch's batches as a step here takes them."""
        return order if self.mesh is None else np.asarray(order)

    def key(self, key: jax.Array) -> jax.Array:
        """Return a copy of a state's key, on the default device."""
        if self.mesh is None:
            return jnp.copy(key)
        data = jnp.asarray(np.asarray(jax.random.key_data(key)))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))

    def _fits(self, data: Batch) -> bool:
        devices = (
            jax.local_devices()[:1] if self.mesh is None else self.mesh.local_devices
        )
        size = sum(x.nbytes for x in jax.tree.leaves(data))
        is_too_much = isinstance(data.inputs, Pictures) and size > data.inputs.room
        room = SHARE * device_memory(devices[0], sharing=len(devices))
        return not is_too_much and size <= room

    def _shardings(self, state: TrainState) -> TrainState:
        assert self.mesh is not None
        return state_shardings(state, self.mesh, self.layout)

    def _each(self, tree: PyTree, sharding: NamedSharding) -> PyTree:
        return jax.tree.map(lambda x: sharding, tree)


def place_run(
    batch_size: int, *, devices: int | None = None, layout: Layout = "replicated"
) -> Placement:
    """Choose the devices of a run.

    Args:
      batch_size: of a step; the devices must divide it.
      devices: how many, of all processes alike; None takes all accelerators, and of CPU
        devices, each of which has all cores already, one a process.
      layout: of the state on several devices; see `state_shardings`.

    Raises:
      ValueError: if there are not as many, they do not divide the batch, or a single
        device is to split its state.
    """
    here = jax.devices()
    share_cores = here[0].platform in SHARED_CORES
    processes = jax.process_count()
    count = processes if share_cores else len(here)
    count = count if devices is None else devices
    if not 1 <= count <= len(here):
        raise ValueError(f"devices must be from 1 to the {len(here)} here, got {count}.")
    if batch_size % count:
        fewer = max(n for n in range(1, count) if batch_size % n == 0)
        raise ValueError(
            f"batch_size must be a multiple of the {count} devices that split it, got"
            f" {batch_size}: take --batch-size {-(-batch_size // count) * count}, or"
            f" --devices {fewer}."
        )
    if count % processes:
        raise ValueError(
            f"devices must be a multiple of the {processes} processes, got {count}."
        )
    if count == 1:
        if layout != "replicated":
            raise ValueError(
                f"layout must be replicated on one device, got {layout!r}: there is"
                " nothing to split the state over."
            )
        return Placement()
    of_each = [
        [x for x in here if x.process_index == i][: count // processes]
        for i in range(processes)
    ]
    return Placement(axis_of([x for some in of_each for x in some]), layout)


def check_hosts(job: Job, dataset: Dataset) -> None:
    """Raise HostsError unless all processes of a run have the same job and data."""
    if jax.process_count() == 1:
        return
    if job.restores:
        raise HostsError(
            "a run over several processes cannot go back by itself: leave out"
            " --on-bad-number restore."
        )
    splits = {"train": dataset.train, "test": dataset.test, "val": dataset.validation}
    data = {
        f"data.{split}.{name}": f"{list(x.shape)}, CRC {_checksum(x)}"
        for split, batch in splits.items()
        for name, x, _ in named_leaves(batch)
    }
    said = {name: getattr(job, name) for name in ("epochs", "batch_size", "seed")}
    versions = {name: metadata.version(name) for name in PACKAGES}
    here = {"devices here": len(jax.local_devices())}
    check_agreement({**said, **versions, **here, **data})


def _checksum(x: Any) -> int:
    """Of an array; of pictures of which there are, by name where they are files."""
    if not isinstance(x, Pictures):
        return zlib.crc32(x.tobytes())
    names = getattr(x.source, "names", np.arange(0))
    return zlib.crc32(names.tobytes(), zlib.crc32(x.places.tobytes()))
