"""The fastest way to run many trainings' steps, found by a few of them.

Stacked members share what a step costs whatever its size: dispatch, launches, loops over
small arrays. What is bound by arithmetic gains nothing and may lose: on a CPU stacked
convolutions take up to twice the time, and convolutions in a compiled loop 14 times.
"""

import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax

from optix_tricks._checks import check_count

ROUNDS = 7
WINDOW = 1e-2  # seconds, or one step where that takes longer
GAIN = 0.9  # of the time, at most, of what takes the place of something simpler
HOPELESS = 2.0  # times the time: not tried any further


class Way(NamedTuple):
    """How steps are run."""

    stacked: int  # members in one program, on each device
    scan: bool  # whether a call of the program runs many steps, or one


def measure_ways(
    trial: Callable[[Way], Callable[[int], None]],
    *,
    members: int,
    steps: int,
    scan: bool | None,
) -> dict[Way, float]:
    """Time the ways worth a trial, from the simplest on.

    First one member's steps, called and in a compiled loop, then the better of these
    with 4, 16, 64, ... and all members stacked, as long as each member's share falls. A
    newcomer takes turns with the best so far, and one that does not fit into the memory
    has lost.

    Args:
        trial: `trial(way)` returns a function that runs so many steps on copies, waits
            for them, and compiles when it is called first.
        members: on each device.
        steps: the most that a trial may run.
        scan: only compiled loops, only calls, or both.

    Returns:
        Seconds of a step of all `way.stacked` members, in the order of the trials.
    """
    check_count("members", members, minimum=1)
    check_count("steps", steps, minimum=1)
    best = Way(1, bool(scan))
    run_best = trial(best)
    run_best(1)  # compiles
    window = min(max(round(WINDOW / _seconds(run_best, 1)), 1), steps)
    seconds = {best: _seconds(run_best, window) / window}

    def wins(way: Way) -> bool:
        """Whether a way beats the best so far; then it is that."""
        nonlocal best, run_best
        try:
            run = trial(way)
            ratio = _ratio(run, run_best, window)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            ratio = math.inf
        seconds[way] = ratio * seconds[best]
        if seconds[way] / way.stacked > GAIN * seconds[best] / best.stacked:
            return False
        best, run_best = way, run
        return True

    if scan is None:
        wins(Way(1, True))
    for stacked in _ladder(members):
        if not wins(best._replace(stacked=stacked)):
            break
    return seconds


def fastest_way(seconds: dict[Way, float], members: int) -> Way:
    """Return the way that takes the least time for a step of so many on each device.

    Of two about equal ones it is the one tried first.

    >>> seconds = {Way(1, False): 1.0, Way(16, False): 4.0}
    >>> fastest_way(seconds, 16), fastest_way(seconds, 3)
    (Way(stacked=16, scan=False), Way(stacked=1, scan=False))
    """

    def cost(way: Way) -> float:
        return math.ceil(members / way.stacked) * seconds[way]

    best, *others = seconds
    for way in others:
        if cost(way) < GAIN * cost(best):
            best = way
    return best


def _ladder(members: int) -> list[int]:
    powers = [4**i for i in range(1, members.bit_length()) if 4**i < members]
    return [*powers, members] if members > 1 else []


def _ratio(
    run: Callable[[int], None], run_best: Callable[[int], None], window: int
) -> float:
    """Time of a newcomer over that of the best, the median of rounds."""
    run(1)  # compiles
    mine, best = [], []
    for i in range(ROUNDS):
        best.append(_seconds(run_best, window))
        mine.append(_seconds(run, window))
        if i and min(mine) > HOPELESS * min(best):
            break
    return statistics.median(a / b for a, b in zip(mine, best, strict=True))


def _seconds(run: Callable[[int], None], steps: int) -> float:
    start = time.perf_counter()
    run(steps)
    return time.perf_counter() - start
