"""The members of a sweep: on which device each lives, and an epoch of those left."""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Bool, Float, Int

from optix_tricks._tree import PyTree
from optix_tricks.training._stacked import (
    SPLIT,
    WHOLE,
    Evaluate,
    Stack,
    Step,
    compile_programs,
)
from optix_tricks.training._ways import Way

NOBODY = -1  # in a place that is left over, and there a double of someone


class Members:
    """All members, dealt out to the devices one by one, like cards.

    Args:
      stack: the members before their first step.
      step: see `sweep`, and so for all below.
      evaluate: called where there are `test_data`.
      data: to train on.
      test_data: None for none.
      test_batch_size: examples in a call of `evaluate`.
      test_metrics: how many numbers that returns.
      devices: one or more.

    Attributes:
      per_device: places for members on each device.
    """

    _stack: Stack
    _ids: Int[np.ndarray, "devices per_device"]  # who has which place

    def __init__(
        self,
        stack: Stack,
        step: Step,
        evaluate: Evaluate,
        *,
        data: PyTree,
        test_data: PyTree,
        test_batch_size: int,
        test_metrics: int,
        devices: Sequence[jax.Device],
    ) -> None:
        mesh = Mesh(np.array(devices), ("members",))
        self._split, self._whole = (NamedSharding(mesh, spec) for spec in (SPLIT, WHOLE))
        self._devices = devices
        self._programs = compile_programs(mesh, step, evaluate)
        self._data = jax.device_put(data, self._whole)
        self._test_data = jax.device_put(test_data, self._whole)
        self._test_size = len(jax.tree.leaves(test_data)[0]) if test_metrics else 0
        self._test_batch_size = test_batch_size
        self._test_metrics = test_metrics
        self._size = len(stack.seed)
        self.per_device = -(-self._size // len(devices))
        ids = np.full(self.per_device * len(devices), NOBODY)
        ids[: self._size] = np.arange(self._size)
        self._deal(stack, np.maximum(ids, 0), ids)

    def trial(
        self, way: Way, order: Int[Array, "seeds steps batch"]
    ) -> Callable[[int], None]:
        """Return a function that runs steps on copies of some members, and waits."""
        order = jax.device_put(order, self._whole)
        places, _ = next(self._chunks(way.stacked, np.ones(self._size, bool)))
        stack = self._programs.take(self._stack, places)

        def run(steps: int) -> None:
            nonlocal stack
            stack = self._programs.train(
                stack, self._data, order, steps=steps, scan=way.scan
            )
            jax.block_until_ready(stack)

        return run

    def train_epoch(
        self,
        way: Way,
        order: Int[Array, "seeds steps batch"],
        alive: Bool[np.ndarray, " members"],
        *,
        steps: int,
    ) -> Callable[[], list[np.ndarray]]:
        """Train those alive for so many steps of an epoch, and evaluate them.

        Returns:
          A function that waits, and returns each metric of the steps [members, steps of
          an epoch] and then each of the tests [members], sorted by name; NaN where
          nothing was trained.
        """
        self._balance(alive)
        order = jax.device_put(order, self._whole)
        done = []
        for places, ids in self._chunks(way.stacked, alive):
            stack = self._programs.take(self._stack, places)
            stack = self._programs.train(
                stack, self._data, order, steps=steps, scan=way.scan
            )
            sums = self._test(stack)
            self._stack = self._programs.put(self._stack, places, stack)
            done.append((ids, stack.record, sums))

        def wait() -> list[np.ndarray]:
            record = np.full((self._size, *self._stack.record.shape[1:]), np.nan)
            tested = np.full((self._size, self._test_metrics), np.nan)
            for ids, rows, sums in done:
                someone = ids != NOBODY
                record[ids[someone], :, :steps] = np.asarray(rows)[someone, :, :steps]
                tested[ids[someone]] = np.asarray(sums)[someone] / self._test_size
            return [*np.moveaxis(record, 1, 0), *tested.T]

        return wait

    def share(self, alive: Bool[np.ndarray, " members"]) -> int:
        """How many of those alive a device gets at most."""
        return -(-int(alive.sum()) // len(self._devices))

    def states(self) -> PyTree:
        """Return the states [members, ...] on the first device."""
        rows = np.argsort(self._ids.ravel())[-self._size :]
        states = jax.device_put(self._stack.state, self._devices[0])
        return jax.tree.map(lambda x: x[rows], states)

    def _deal(
        self, stack: Stack, rows: Int[np.ndarray, " places"], ids: np.ndarray
    ) -> None:
        """Give each place a row of the stack and note whose it is."""
        dealt = np.arange(len(ids)).reshape(-1, len(self._devices)).T
        self._ids = ids[dealt]
        stack = jax.tree.map(lambda x: x[rows[dealt.ravel()]], stack)
        self._stack = jax.device_put(stack, self._split)

    def _balance(self, alive: Bool[np.ndarray, " members"]) -> None:
        """Deal anew where a device has more to train than it need have."""
        living = self._living(alive)
        if living.sum(axis=1).max() > self.share(alive):
            rows = np.argsort(~living.ravel(), kind="stable")
            stack = jax.device_put(self._stack, self._devices[0])
            self._deal(stack, rows, self._ids.ravel()[rows])

    def _living(
        self, alive: Bool[np.ndarray, " members"]
    ) -> Bool[np.ndarray, "devices per_device"]:
        return (self._ids != NOBODY) & alive[self._ids]

    def _chunks(
        self, stacked: int, alive: Bool[np.ndarray, " members"]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield places within each device and the members there, [devices * stacked].

        The last chunk is filled up with places past the end.
        """
        queues = [np.flatnonzero(row) for row in self._living(alive)]
        held = np.pad(self._ids, ((0, 0), (0, 1)), constant_values=NOBODY)
        for start in range(0, max(map(len, queues)), stacked):
            places = np.full((len(queues), stacked), self.per_device, np.int32)
            for row, queue in zip(places, queues, strict=True):
                chunk = queue[start : start + stacked]
                row[: len(chunk)] = chunk
            yield places.ravel(), np.take_along_axis(held, places, axis=1).ravel()

    def _test(self, stack: Stack) -> Float[Array, "stacked test_metrics"]:
        """The sum of each metric over the test data; the last batch may be smaller."""
        sums = jnp.zeros((len(stack.seed), self._test_metrics))
        sums = jax.device_put(sums, self._split)
        for start in range(0, self._test_size, self._test_batch_size):
            end = min(start + self._test_batch_size, self._test_size)
            index = np.arange(start, end)
            sums = self._programs.test((stack, sums), self._test_data, index)
        return sums
