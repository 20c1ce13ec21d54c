"""What each trick was measured to do, from the project's own ledger."""

import functools
import json
from importlib import resources
from typing import NamedTuple

FILE = "effects.json"  # written by `python -m benchmarks.ledger`


class MeasuredEffect(NamedTuple):
    """The change that a trick made, alone, on the testbed.

    Attributes:
      taken: the trick as `--with` takes it.
      points: change in test accuracy, in points: with the trick less without it.
      half_width: of its 95 % interval, in points.
      seeds: pairs of trainings.
      verdict: "helps", "hurts", "small", or "undecided".
      step: how many times as long a step takes, and the ends of the 95 % interval; None
        if that was not measured.
      testbed: on what it was measured.
    """

    taken: str
    points: float
    half_width: float
    seeds: int
    verdict: str
    step: list[float] | None
    testbed: str

    @property
    def interval(self) -> str:
        """The change and its interval: `+0.62 ± 0.41`."""
        return f"{self.points:+.2f} ± {self.half_width:.2f}"

    def __str__(self) -> str:
        """One sentence."""
        step = ""
        if self.step is not None:
            ratio, low, high = self.step
            step = f", a step {ratio:.2f} times as long ({low:.2f} to {high:.2f})"
        return (
            f"{self.interval} points of test accuracy, n = {self.seeds}"
            f" ({self.verdict}){step}; {self.taken} on {self.testbed}"
        )


@functools.cache
def measured_effects() -> dict[str, MeasuredEffect]:
    """Return the effect of each trick that was measured, by its name."""
    told = json.loads((resources.files(__package__) / FILE).read_text())
    return {
        name: MeasuredEffect(**row, testbed=told["testbed"])
        for name, row in told["effects"].items()
    }
