"""A trace of a few steps of a run, taken by JAX's profiler once they are compiled."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from optix_tricks._checks import check_count
from optix_tricks.training._hosts import is_first

PLACE = "profile"  # in the run's directory; `reports` finds it there


class Profile:
    """Says which steps are traced: `steps` of them, after as many that are not.

    Where an epoch is one program, the first ones compile the program of this many steps,
    so that the trace shows no compilation. Nothing is traced where `steps` is None. Of
    several processes the first one traces its own devices; all run the same pieces.

    Raises:
      ValueError: if an epoch of `epoch_steps` has not twice as many.
    """

    def __init__(self, steps: int | None, path: Path, *, first: int, epoch_steps: int):
        self.path, self._steps, self._start = path / PLACE, steps or 0, -1
        if steps is None:
            return
        check_count("profile", steps, minimum=1)
        if 2 * steps > epoch_steps:
            raise ValueError(
                f"profile must be at most half of an epoch's {epoch_steps} steps, since"
                f" as many go before it and compile, got {steps}."
            )
        past = first % epoch_steps
        late = past + 2 * steps > epoch_steps  # too few are left of the epoch
        self._start = first + steps + (epoch_steps - past if late else 0)

    def piece(self, step: int, length: int) -> int:
        """How many of `length` steps to train in one go after `step` steps."""
        ahead = self._start - step
        if ahead < 0:
            return length
        return min(length, ahead or self._steps)

    def covers(self, step: int) -> bool:
        """Whether what follows `step` steps is traced."""
        return step == self._start

    @contextmanager
    def around(self, step: int) -> Iterator[None]:
        """Trace what is done within, where it is to be traced."""
        if self.covers(step) and is_first():
            with jax.profiler.trace(self.path):
                yield
        else:
            yield
