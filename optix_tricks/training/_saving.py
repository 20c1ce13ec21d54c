"""When a run saves within an epoch, and the signals on which it saves and ends."""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from optix_tricks.training._hosts import from_first

SECONDS = {"s": 1, "min": 60, "h": 3600}
PIECE = 100  # steps of a scanned epoch between two looks at the clock
LONG = 500  # steps of an epoch that is scanned in pieces, so that a signal waits for one
DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


class Stopped(KeyboardInterrupt):
    """A signal ended a training after a step; its state is saved.

    Attributes:
      signal: its number; a shell's exit code is 128 more.
      step: the last, counted from 1.
    """

    def __init__(self, number: int, step: int):
        said = f"after step {step}, which is saved" if step else "before the first step"
        super().__init__(f" {said}")
        self.signal, self.step = number, step


class Every(NamedTuple):
    """How often a run saves: one of the three."""

    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None


def every(said: int | str) -> Every:
    """Read `5`, `5epochs`, `500steps`, `90s`, `10min` or `2h`.

    Raises:
      ValueError: if it is none of these.
    """
    match = re.fullmatch(r"([0-9]{1,9})(epochs?|steps?|s|min|h)?", str(said))
    if match is None or not int(match[1]):
        raise ValueError(
            "checkpoint_every must be epochs, as 5, or like 500steps, 90s, 10min or 2h,"
            f" got {said!r}."
        )
    number, unit = int(match[1]), match[2] or "epochs"
    if unit in SECONDS:
        return Every(seconds=number * SECONDS[unit])
    return Every(steps=number) if unit.startswith("step") else Every(epochs=number)


class Saving:
    """Says when to save, and which signal came."""

    def __init__(self, said: int | str):
        self.every = every(said)
        self.signal: int | None = None
        self._scans = jax.default_backend() != "cpu"
        self._is_shared = jax.process_count() > 1
        self._asked = 0
        self._last = time.monotonic()

    def piece(self, step: int, left: int, *, of: int = 0) -> int:
        """How many steps to train in one go after `step` steps, of those `left`.

        An epoch `of` many steps that runs as one program is cut.
        """
        if self.every.seconds is not None or (self._scans and of > LONG):
            left = min(PIECE, left)
        if self.every.steps is not None:
            return min(self.every.steps - step % self.every.steps, left)
        return left

    def is_due(self) -> bool:
        """Whether to save after the step under way, whichever it is.

        Where processes train together all ask equally often and are told the same: that
        one of them was told to end, by a signal that reached it some steps before.
        """
        if self._is_shared:
            self._asked += 1
            if self.signal is None and ocp.utils.reached_preemption(self._asked):
                self.signal = signal.SIGTERM
            return self.signal is not None
        return self._is_asked_or_late()

    def _is_asked_or_late(self) -> bool:
        late = self.every.seconds
        is_late = late is not None and time.monotonic() - self._last >= late
        return self.signal is not None or is_late

    def is_due_at(self, step: int) -> bool:
        """Whether to save after this step."""
        n = self.every.steps
        if self.is_due() or (n is not None and step % n == 0):
            return True
        is_timed = self._is_shared and self.every.seconds is not None
        return is_timed and bool(from_first(np.int32(self._is_asked_or_late())))

    def is_due_after(self, epoch: int) -> bool:
        """Whether to save after this many epochs."""
        return self.signal is not None or epoch % (self.every.epochs or 1) == 0

    def is_saved(self) -> None:
        """Start the clock again."""
        self._last = time.monotonic()

    def or_end(self, shown: Callable[[int, int], None]) -> Callable[[int, int], None]:
        """Return what to call within that which comes before the first step."""

        def show(done: int, of: int) -> None:
            shown(done, of)
            self.end(0)

        return show

    def end(self, step: int) -> None:
        """Raise Stopped if a signal came."""
        if self.signal is not None:
            raise Stopped(self.signal, step)


@contextmanager
def listening(said: int | str) -> Iterator[Saving]:
    """Have SIGINT, SIGTERM and SIGHUP ask for an end; a second one ends at once.

    Only in the main thread, and only those that would have ended the process: what is
    ignored, as by nohup, or handled by the program itself stays so. Where processes train
    together SIGTERM is JAX's, which tells it to all of them.
    """
    saving = Saving(said)
    taken: dict[int, Any] = {}

    def give_back() -> None:
        while taken:
            signal.signal(*taken.popitem())

    def ask(number: int, frame: Any) -> None:
        saving.signal = number
        give_back()

    is_main = threading.current_thread() is threading.main_thread()
    if is_main and jax.process_count() == 1:
        for number, default in DEFAULTS.items():
            if signal.getsignal(number) == default:
                taken[number] = signal.signal(number, ask)
    try:
        yield saving
    finally:
        give_back()
