"""Where the steps of a run get their batches from: data on the devices, or a stream."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from optix_tricks.training._batch import Batch
from optix_tricks.training._dataset import Dataset
from optix_tricks.training._epoch import Series, make_epoch
from optix_tricks.training._job import Job
from optix_tricks.training._orders import epoch_order, steps_in_epoch
from optix_tricks.training._run_devices import Placement
from optix_tricks.training._state import TrainState
from optix_tricks.training._step import Step
from optix_tricks.training._stream_feed import FromStream

epoch_of = functools.lru_cache(maxsize=16)(make_epoch)  # of a step one epoch


class FromMemory:
    """Gathers batches by index, in a fresh order each epoch, of data on the devices.

    Args:
      data: of the host; they are put on the devices once.
      job: of the run.
      placed: on which devices.
      key: of the run's state, from which the orders follow.
    """

    def __init__(self, data: Batch, job: Job, placed: Placement, key: jax.Array):
        self.data = placed.data(data)
        self._epochs, self._sizes = job.epochs, (data.size, job.batch_size)
        self._placed, self._key = placed, placed.key(key)
        self._ordered = functools.lru_cache(maxsize=1)(self._order)

    def __enter__(self) -> "FromMemory":
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: the devices keep the data as long as they are used."""

    def steps_in(self, epoch: int) -> int:
        """How many steps an epoch has; the last may be cut short."""
        return steps_in_epoch(epoch, self._epochs, *self._sizes)

    def train(
        self,
        step: Step,
        state: TrainState,
        epoch: int,
        first: int,
        length: int,
        *,
        on_step: Callable[[int], None] = lambda i: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[TrainState, Series]:
        """Take `length` steps of an epoch from the one numbered `first` on.

        Args and result are otherwise those of `make_epoch`'s function.
        """
        order = self._ordered(epoch)
        part = order if length == len(order) else order[first : first + length]
        run = epoch_of(step, **self._placed.of_epoch)
        calls = {"on_step": on_step, "should_stop": should_stop}
        return run(state, self.data, part, **calls)

    def batch(self, epoch: int, place: int) -> Batch:
        """Return the batch of one step."""
        return self.data.take(self._ordered(epoch)[place])

    def _order(self, epoch: int) -> jax.Array | np.ndarray:
        order = epoch_order(self._key, epoch, *self._sizes)
        return self._placed.order(order[: self.steps_in(epoch)])


Feed = FromMemory | FromStream


def feed_of(
    dataset: Dataset, job: Job, placed: Placement, key: jax.Array, *, workers: int = 0
) -> Feed:
    """Return the feed of a run; use it in a `with` statement."""
    if dataset.streamed:
        return FromStream(dataset.train, job, placed, workers=workers)
    return FromMemory(dataset.train, job, placed, key)
