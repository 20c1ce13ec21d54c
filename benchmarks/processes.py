"""Candidates that take turns, each in a process of its own.

What a process compiles first runs faster than the same program compiled after it, which
takes 1.06 to 1.18 times as long if it is made of many kernels. In one process Optax would
be ahead of itself (docs/lab-notes.md).
"""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from random import Random
from typing import Any

import jax


class Candidate:
    """A process that makes one call ready, and times it when asked."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs,), daemon=True).start()
        theirs.close()

    def begin(
        self, build: Callable[..., tuple[Callable[[], Any], Any]], *args: Any
    ) -> None:
        """Have `build(*args)` return a call, and something to know about it.

        The call before it is dropped first.
        """
        self._pipe.send((build, args))

    def made(self) -> Any:
        """Wait for what was begun; return what is to know about it."""
        return self._answer()

    def seconds(self) -> float:
        """Time one call, behind another one that wakes the process."""
        self._pipe.send((None, ()))
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError as error:
            raise RuntimeError("a candidate's process has ended.") from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def take_turns(
    candidates: dict[str, Candidate], *, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each call, once a round, in a new order every round; two to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    order, random = list(candidates), Random(0)
    for i in range(2 + rounds):
        random.shuffle(order)
        for name in order:
            elapsed = candidates[name].seconds()
            if i >= 2:
                seconds[name].append(elapsed)
    return seconds


def _serve(pipe: Connection) -> None:
    """Answer until the other end is closed."""
    call: Any = None
    while True:
        try:
            build, args = pipe.recv()
        except EOFError:
            return
        try:
            if build is None:
                jax.block_until_ready(call())
                start = time.perf_counter()
                jax.block_until_ready(call())
                pipe.send(time.perf_counter() - start)
            else:
                call = None
                call, facts = build(*args)
                pipe.send(facts)
        except Exception as error:
            pipe.send(error)
