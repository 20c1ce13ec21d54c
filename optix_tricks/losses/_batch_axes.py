"""Comparisons of examples on a mesh of explicit axes."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def sharded_as_batch(function: Callable[P, R]) -> Callable[P, R]:
    """Let the compiler place `function` where its arguments have explicit axes.

    Types with such an axis in them cannot be [batch, batch], nor the result of a gather
    or of uneven slices. So these axes are the compiler's inside, and first in each
    result where they are first in the first argument. All arguments are arrays.
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
