"""What the columns of schedules are asked of: a factory and its numbers."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from optix_tricks.testing._check import NotApplicable
from optix_tricks.testing._written import call

COUNTS = np.arange(16)


class ScheduleSubject:
    """A schedule as the columns see it.

    Args:
      factory: makes the schedule from `hyperparams`, by name. What the schedule returns
        may be a tree of numbers.
      hyperparams: a number for each that is to be swept over and differentiated by.
      ends: whether it stays at its end for ever; an endless one is asked at its last
        counts in float64.
      reference: the value at a whole number of any size, in Python's own arithmetic.
      tolerance: relative and absolute, of float32 against the reference.
      name: how the factory is written in Python, by default as it is found.
    """

    def __init__(
        self,
        factory: Callable[..., Any],
        hyperparams: Mapping[str, float] | None = None,
        *,
        ends: bool = True,
        reference: Callable[[int], Any] | None = None,
        tolerance: tuple[float, float] = (3e-6, 2e-7),
        name: str | None = None,
    ) -> None:
        if not callable(factory):
            raise TypeError(f"factory must be a function, got {factory!r}.")
        self.factory, self.hyperparams = factory, dict(hyperparams or {})
        self.ends, self.reference, self.tolerance = ends, reference, tolerance
        self.name = call(factory, name, self.hyperparams)

    def reproduction(self, column: str, code: str | None) -> str:
        """One line of Python that shows a failure."""
        del code
        maker = self.name.partition("(")[0]
        return (
            f"testing.check_schedule({maker}, hyperparams={self.hyperparams!r}, "
            f"columns={column!r}).assert_passed()"
        )

    def make(self, **changes: Any) -> Callable[[Any], Any]:
        """The schedule, some of its numbers changed."""
        return self.factory(**{**self.hyperparams, **changes})

    @functools.cached_property
    def schedule(self) -> Callable[[Any], Any]:
        """The schedule with its numbers."""
        return self.make()

    @functools.cached_property
    def values(self) -> Any:
        """Its values at the first counts, as an array."""
        return self.schedule(COUNTS)

    def need_hyperparams(self) -> Mapping[str, float]:
        """The numbers, for a column that is about them."""
        if not self.hyperparams:
            raise NotApplicable("no hyperparameters were given")
        return self.hyperparams

    def need_reference(self) -> Callable[[int], Any]:
        """The reference, for a column that is about it."""
        if self.reference is None:
            raise NotApplicable("no reference was given")
        return self.reference
