"""Trainings side by side: members stacked along a first axis, and programs over them.

Each device holds its own members and runs a program over them alone: nothing passes from
device to device, so that there is no collective to wait for. A program is compiled once
for each number of members that it is handed.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from optix_tricks._tree import PyTree
from optix_tricks.training._compiling import jit

SPLIT, WHOLE = PartitionSpec("members"), PartitionSpec()

Step = Callable[[PyTree, PyTree, Any], tuple[PyTree, dict[str, Array]]]
Evaluate = Callable[[PyTree, Any], dict[str, Array]]


class Stack(NamedTuple):
    """Members side by side; a single one has the same fields without the first axis."""

    setting: PyTree  # [members, ...] hyperparameters
    seed: Int[Array, "*members"]  # the place of each one's seed among the seeds
    state: PyTree  # [members, ...]
    record: Float[Array, "*members metrics steps"]  # of an epoch, sorted by name


class Programs(NamedTuple):
    """Compiled functions. Ids count the members within each device.

    Attributes:
      take: `take(stack, ids)` copies members; an id past the last copies any.
      put: `put(stack, ids, new)` writes members, but not where an id is past the last.
      one_step: `one_step(stack, data, order, i)` runs step i of an epoch.
      many_steps: `many_steps(stack, data, order, steps)` runs as many from the first on.
      test: `test((stack, sums), data, index)` adds a batch's metrics to the sums
        [members, metrics], sorted by name.

    All but `take` and `test` donate the stack.
    """

    take: Callable[[Stack, Any], Stack]
    put: Callable[[Stack, Any, Stack], Stack]
    one_step: Callable[[Stack, PyTree, Array, Any], Stack]
    many_steps: Callable[[Stack, PyTree, Array, Any], Stack]
    test: Callable[[tuple[Stack, Array], PyTree, Any], Array]

    def train(
        self, stack: Stack, data: PyTree, order: Array, *, steps: int, scan: bool
    ) -> Stack:
        """Run an epoch's first steps, in a compiled loop or called one by one."""
        if scan:
            return self.many_steps(stack, data, order, np.int32(steps))
        for i in range(steps):
            stack = self.one_step(stack, data, order, np.int32(i))
        return stack


def compile_programs(mesh: Mesh, step: Step, evaluate: Evaluate) -> Programs:
    """Build the programs; each is compiled when it is called first.

    Args:
      mesh: with one axis, `members`.
      step: of one member.
      evaluate: of one member.
    """

    def compiled(split: int, shared: int, *, donate: bool) -> Callable[..., Any]:
        """Compile functions of arguments split over the devices, then of shared ones."""
        return lambda function: jit(
            jax.shard_map(
                function,
                mesh=mesh,
                in_specs=(SPLIT,) * split + (WHOLE,) * shared,
                out_specs=SPLIT,
                check_vma=False,  # else no scan within a step could start from zeros
            ),
            donate_argnums=(0,) if donate else (),
        )

    @compiled(2, 0, donate=False)
    def take(stack: Stack, ids: Array) -> Stack:
        return jax.tree.map(lambda x: jnp.take(x, ids, axis=0, mode="clip"), stack)

    @compiled(3, 0, donate=True)
    def put(stack: Stack, ids: Array, new: Stack) -> Stack:
        return jax.tree.map(lambda x, y: x.at[ids].set(y, mode="drop"), stack, new)

    @_for_each
    def advance(member: Stack, data: PyTree, order: Array, i: Array) -> Stack:
        batch = batch_of(data, order[member.seed, i])
        state, metrics = step(member.setting, member.state, batch)
        record = member.record.at[:, i].set(_column(metrics))
        return member._replace(state=state, record=record)

    one_step = compiled(1, 3, donate=True)(advance)

    @compiled(1, 3, donate=True)
    def many_steps(stack: Stack, data: PyTree, order: Array, steps: Array) -> Stack:
        return lax.fori_loop(0, steps, lambda i, s: advance(s, data, order, i), stack)

    @compiled(1, 2, donate=False)
    @_for_each
    def test(member: tuple[Stack, Array], data: PyTree, index: Array) -> Array:
        stack, sums = member
        metrics = evaluate(stack.state, batch_of(data, index))
        return sums + _column({k: jnp.sum(x) for k, x in metrics.items()})

    return Programs(take, put, one_step, many_steps, test)


def batch_of(data: PyTree, index: Array) -> PyTree:
    """Gather examples from every array of the data."""
    return jax.tree.map(lambda x: x[index], data)


def _column(metrics: dict[str, Array]) -> Float[Array, " metrics"]:
    return jnp.stack([metrics[name].astype(jnp.float32) for name in sorted(metrics)])


def _for_each(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Map over stacked members; a single one stays as it is, for convolutions' sake."""

    @functools.wraps(function)
    def mapped(stack: PyTree, *shared: Any) -> PyTree:
        if len(jax.tree.leaves(stack)[0]) > 1:
            return jax.vmap(lambda member: function(member, *shared))(stack)
        alone = function(jax.tree.map(lambda x: x[0], stack), *shared)
        return jax.tree.map(lambda x: x[None], alone)

    return mapped
