"""Comparisons of examples on a mesh of explicit axes."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def sharded_as_batch(function: Callable[P, R]) -> Callable[P, R]:
    """Leave explicit axes that arguments of `function` are sharded over to the compiler.

    No type has such an axis twice, as [batch, batch] would, and no gather or uneven
    slice has one. Inside, the axes are the compiler's; results are sharded in their
    first dimension as the first argument is. Without such axes it is `function` itself.
    Arguments are arrays, given by position.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        shardings = [jax.typeof(x).sharding for x in args]
        batch = shardings[0]
        named = jax.tree.leaves([tuple(s.spec) for s in shardings])
        axes = tuple(axis for axis in batch.mesh.explicit_axes if axis in named)
        if not axes:
            return function(*args, **kwargs)
        out = jax.NamedSharding(batch.mesh, jax.P(batch.spec[0]))
        placed = jax.sharding.auto_axes(function, axes=axes, out_sharding=out)
        return placed(*args, **kwargs)

    return call
