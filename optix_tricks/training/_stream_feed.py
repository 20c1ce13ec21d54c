"""Batches of a run whose pictures are read anew in each epoch."""

import functools
import os
from collections.abc import Callable
from typing import Any

from jax.sharding import Mesh

from optix_tricks.training._batch import Batch
from optix_tricks.training._compiling import jit
from optix_tricks.training._epoch import Series
from optix_tricks.training._host_crop import PictureReader
from optix_tricks.training._job import Job
from optix_tricks.training._layouts import Layout, on_mesh, over_batch
from optix_tricks.training._orders import steps_in_epoch, steps_per_epoch
from optix_tricks.training._picture_array import LabelledPictures, Pictures
from optix_tricks.training._run_devices import Placement
from optix_tricks.training._state import TrainState
from optix_tricks.training._step import Step
from optix_tricks.training._streaming import Stream, stream_epoch

MOST_THREADS = 8  # each holds a batch


class FromStream:
    """Decodes and crops batches beside the training, from the step on that comes next.

    Args:
      data: `Pictures` and their labels.
      job: of the run; its `crop` is that of whole pictures.
      placed: on which devices.
      workers: processes that decode; 0 leaves it to threads of this one.
    """

    def __init__(self, data: Batch, job: Job, placed: Placement, *, workers: int = 0):
        pictures: Pictures = data.inputs
        crop = job.crop if pictures.is_cropped else None
        self._source = LabelledPictures(pictures, data.targets)
        self._epochs, self._sizes = job.epochs, (data.size, job.batch_size)
        self._placed = placed
        self._options: dict[str, Any] = {
            "batch_size": job.batch_size,
            "seed": job.seed,
            "augment": PictureReader(pictures.size, pictures.mode, crop),
            "workers": workers,
            "threads": 0 if workers else min(os.cpu_count() or 1, MOST_THREADS),
            "sharding": None if placed.mesh is None else over_batch(placed.mesh),
        }
        self._stream: Stream | None = None

    def __enter__(self) -> "FromStream":
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """End threads and processes."""
        if self._stream is not None:
            self._stream.close()

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

        The metrics have `input_wait` among them; see `stream_epoch`.
        """
        stream = self._from(epoch, first)
        compiled = _compiled(step, self._placed.mesh, self._placed.layout)
        calls: Any = {"on_step": on_step, "should_stop": should_stop}
        return stream_epoch(compiled, state, stream, steps=length, **calls)

    def batch(self, epoch: int, place: int) -> Batch:
        """Return the batch of one step."""
        return next(self._from(epoch, place))

    def _from(self, epoch: int, first: int) -> Stream:
        """Return the stream, opened anew where it is not at this step."""
        number = epoch * steps_per_epoch(*self._sizes) + first
        if self._stream is None or self._stream.number != number:
            self.__exit__()
            self._stream = Stream(self._source, start=number, **self._options)
        return self._stream


@functools.lru_cache(maxsize=16)
def _compiled(step: Step, mesh: Mesh | None, layout: Layout) -> Step:
    one = step if mesh is None else on_mesh(step, mesh, layout)
    return jit(one, donate_argnums=0)
