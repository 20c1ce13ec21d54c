"""Worker processes that die, and are replaced."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

from optix_tricks.training._dataset import DataError

DEATH = "Worker process was terminated unexpectedly"  # Grain's words
MOST_DEATHS = 3


class LostWorker(UserWarning):
    """A process that read and decoded for a stream died, and others took its place."""


class Replaced(Iterator[Any]):
    """Batches of `opened(start)`, which is opened anew where one of its workers dies.

    A batch follows from its number, so that none is lost or another.

    Args:
      opened: from the number of the first batch to an iterator with `close`.
      start: that number.

    Raises:
      DataError: while iterating, if workers die for the fourth time.

    Warns:
      LostWorker: each time before.
    """

    def __init__(self, opened: Callable[[int], Any], start: int):
        self._opened, self._made, self._deaths = opened, start, 0
        self._batches = opened(start)

    def __next__(self) -> Any:
        """Return the next batch."""
        while True:
            try:
                batch = next(self._batches)
            except RuntimeError as error:
                if DEATH not in str(error):
                    raise
                self._replace(error)
            else:
                self._made += 1
                return batch

    def close(self) -> None:
        """End the workers."""
        self._batches.close()

    def _replace(self, error: RuntimeError) -> None:
        self._deaths += 1
        code = str(error).partition("exit code ")[2].split(".")[0]
        died = f"a worker process of the stream died (exit code {code})"
        if self._deaths > MOST_DEATHS:
            raise DataError(
                f"{died}, the fourth to do so: give more memory, a larger /dev/shm, or"
                " fewer --workers."
            ) from error
        warnings.warn(
            f"{died} before batch {self._made}; going on from there with others",
            LostWorker,
            stacklevel=2,
        )
        self.close()
        self._batches = self._opened(self._made)
