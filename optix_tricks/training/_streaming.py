"""Batches of data that fit neither the device nor memory, read by Grain.

Grain is imported only when a stream is made.
"""

import functools
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Sharding

from optix_tricks._checks import check_count
from optix_tricks._paths import Whole
from optix_tricks.training._batch import Batch
from optix_tricks.training._epoch import Series, run_steps
from optix_tricks.training._host_batches import HostAugment, Source, host_batches
from optix_tricks.training._orders import steps_per_epoch
from optix_tricks.training._shares import check_divides, part_here, put_part
from optix_tricks.training._state import TrainState
from optix_tricks.training._step import Metrics, Step
from optix_tricks.training._workers import Replaced


class Waiting(NamedTuple):
    """Seconds that the device stood idle for want of a batch."""

    first: float = 0.0  # for the first batch: threads and processes start, files open
    rest: float = 0.0  # for all batches after it
    total: float = 0.0  # from the first batch to the newest, waiting or not

    @property
    def share(self) -> float:
        """Of the time since the first batch, what was spent waiting."""
        return self.rest / self.total if self.total else 0.0


class Stream(Iterator[Batch]):
    """Shuffled batches without end, on the device before they are asked for.

    Each epoch is a fresh shuffle whose incomplete last batch is dropped, each image is
    augmented anew, and batches lie on the device while earlier ones are trained on. They
    are uint8 images with their labels and their indices in the source, int32.

    A batch follows from `source`, `batch_size`, `seed`, `augment` and its number alone,
    not from threads or workers. So the number is all the state there is: a training
    restored from a checkpoint goes on, exactly, with `start=int(state.step)`.

    Where processes train together each reads and decodes its devices' part of a batch
    alone. A worker process that dies is replaced, thrice at most.

    Helps where the data outgrow memory or must be decoded again each epoch. Data that fit
    the device train faster from there, by `make_epoch`: nothing then waits for the host.

    Use it in a `with` statement, which ends its threads and processes. With workers the
    program needs `if __name__ == "__main__":`, as all that starts processes does; each
    gets a copy of the source, and hands over batches in shared memory (`/dev/shm`).

    Args:
      source: of examples; see `host_batches.Source` and `host_batches.ArraySource`.
      batch_size: images of a batch, on all devices together.
      seed: of shuffling and augmentation.
      augment: `augment(rng, image) -> image`, one image uint8 [height, width, channel] at
        a time, in NumPy. What all images have in one size is cheaper to augment on the
        device, in the training step.
      workers: processes that decode and augment; 0 has it done in this one. Python holds
        threads back where `augment` is not one call into a library: then use workers.
      threads: in each process, a batch each; 0 makes one batch at a time.
      prefetch: batches on the device beside the one that is trained on; 0 begins with a
        transfer only when it is asked for.
      sharding: where batches are put: a device, or a sharding that splits the first axis
        over a mesh, `NamedSharding(mesh, PartitionSpec("data"))`, of several processes
        too. None is JAX's default.
      start: number of the first batch.

    Attributes:
      number: of the next batch; counts from 0 over all epochs.
      steps_per_epoch: full batches in the source.
      waiting: what the training waited so far; `last_wait` for the newest batch. Exact
        where each step's results are given to `busy_until`, as `stream_epoch` does;
        without, the rest of the step that still runs is counted too.

    Raises:
      ValueError: if a count is negative, the source holds less than one batch, or the
        sharding does not divide it.
      DataError: if Grain is absent; while reading, if an image cannot be decoded, the
        images of a batch differ in size, or workers keep dying.

    Warns:
      LostWorker: if a worker process died and the stream goes on with new ones.

    Examples:
      >>> from optix_tricks.training import ArraySource
      >>> import numpy as np
      >>> source = ArraySource(np.zeros((10, 8, 8, 3), np.uint8), np.arange(10))
      >>> with Stream(source, batch_size=4, seed=0) as stream:
      ...     first, second = next(stream), next(stream)
      >>> with Stream(source, batch_size=4, seed=0, start=1) as stream:
      ...     bool((next(stream).targets == second.targets).all())
      True
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        seed: Whole,
        augment: HostAugment | None = None,
        workers: int = 0,
        threads: int = 2,
        prefetch: int = 2,
        sharding: Sharding | jax.Device | None = None,
        start: int = 0,
    ):
        counts = {"seed": seed, "workers": workers, "threads": threads}
        for name, count in (counts | {"prefetch": prefetch, "start": start}).items():
            check_count(name, count)
        self.steps_per_epoch = steps_per_epoch(len(source), batch_size)
        if isinstance(sharding, Sharding):
            check_divides(sharding, batch_size)
        self.number = start
        self.last_wait = 0.0
        self.waiting = Waiting()
        self._first_given = 0.0
        self._busy: Any = None
        self._sharding = sharding
        self._prefetch = prefetch
        self._size = batch_size
        part, parts = part_here(sharding, batch_size)
        given = source, batch_size, seed, augment, workers, threads
        opened = functools.partial(host_batches, *given, part=part, parts=parts)
        self._host_batches = Replaced(opened, start)
        self._thread = ThreadPoolExecutor(1, "stream")
        self._closed = False
        self._pending: deque[Future[Batch]] = deque()
        self._fill(prefetch)

    def __enter__(self) -> "Stream":
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the stream."""
        self.close()

    def close(self) -> None:
        """End threads and processes; there are no more batches."""
        self._closed = True
        self._pending.clear()
        self._thread.shutdown(cancel_futures=True)
        self._host_batches.close()

    def busy_until(self, results: Any) -> None:
        """Count as waiting only what comes after these arrays of a step are computed."""
        self._busy = results

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
          DataError: if it cannot be made, which closes the stream.
        """
        if self._closed:
            raise ValueError(
                f"the stream is closed: make another with start={self.number}."
            )
        self._fill(max(self._prefetch, 1))
        pending = self._pending.popleft()
        try:
            if not pending.done():
                jax.block_until_ready(self._busy)
            start = time.perf_counter()
            batch = pending.result()
        except BaseException:
            self.close()
            raise
        self._count(start, time.perf_counter())
        self._fill(self._prefetch)
        return batch

    def _count(self, start: float, end: float) -> None:
        self.last_wait = end - start
        if self._first_given:
            rest = self.waiting.rest + self.last_wait
            self.waiting = self.waiting._replace(rest=rest, total=end - self._first_given)
        else:
            self.waiting = Waiting(first=self.last_wait)
            self._first_given = end
        self.number += 1

    def _fill(self, count: int) -> None:
        while len(self._pending) < count:
            self._pending.append(self._thread.submit(self._place))

    def _place(self) -> Batch:
        """Make a batch and wait until it is on the device; runs in the thread."""
        batch = Batch(*next(self._host_batches))
        placed = put_part(batch, self._sharding, self._size)
        return jax.block_until_ready(placed)


def stream_epoch(
    step: Step,
    state: TrainState,
    stream: Stream,
    *,
    steps: int | None = None,
    on_step: Callable[[int], None] = lambda i: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[TrainState, Series]:
    """Train on the next batches of a stream, like an epoch of `make_epoch`.

    Args:
      step: compiled, by `compile_step` or `compile_step_on_mesh`.
      state: donated.
      stream: its `number` is the step's, where it was made with `start=int(state.step)`.
      steps: how many; None goes to the end of the stream's epoch.
      on_step: called after step i, with at most two steps under way.
      should_stop: ends it early, after the step under way.

    Returns:
      The state and the metrics as arrays [steps], with `input_wait` among them: seconds
      that the device stood idle before each step for want of its batch.
    """
    if steps is None:
        steps = stream.steps_per_epoch - stream.number % stream.steps_per_epoch
    check_count("steps", steps, minimum=1)
    waits: list[float] = []

    def one_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        waits.append(stream.last_wait)
        state, metrics = step(state, batch)
        stream.busy_until(metrics)
        return state, metrics

    batches = itertools.islice(stream, steps)
    calls: Any = {"on_step": on_step, "should_stop": should_stop}
    state, metrics = run_steps(one_step, state, batches, **calls)
    return state, metrics | {"input_wait": jnp.asarray(waits)}
