"""What wrappers share that run their inner transformation at times only."""

import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._checks import check_count, check_number
from optix_tricks._tree import PyTree
from optix_tricks.transforms._in_float32 import round_like


def update_if(
    condition: Array, update: Callable[[], tuple], like: PyTree, inner_state: Any
) -> tuple[PyTree, Any]:
    """Return `update()` where the condition holds, else zeros and the old inner state.

    The updates have the dtypes of `like`. Where the condition does not hold the update is
    not run. Outside of `jit` Python decides: an eager `lax.cond` compiles at every call.
    What has no zero (keys, float0, functions) is that of `like` in any case.
    """
    treedef: Any
    leaves, treedef = jax.tree.flatten(like)
    numbers = [place for place, x in enumerate(leaves) if _is_number(x)]

    def do() -> tuple[list, Any]:
        updates, new_state = update()
        us = treedef.flatten_up_to(round_like(updates, like))
        return [us[place] for place in numbers], new_state

    def rest() -> tuple[list, Any]:
        xs = (leaves[place] for place in numbers)
        return [jnp.zeros_like(x, jnp.result_type(x)) for x in xs], inner_state

    if isinstance(condition, jax.core.Tracer):
        found, new_state = jax.lax.cond(condition, do, rest)
    else:
        found, new_state = do() if condition else rest()
    for place, u in zip(numbers, found, strict=True):
        leaves[place] = u
    return treedef.unflatten(leaves), new_state


def _is_number(x: Any) -> bool:
    dtype = jnp.float32 if isinstance(x, float) else getattr(x, "dtype", object)
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.number, jnp.bool_))


def as_steps(name: str, value: Any, *, minimum: int) -> Any:
    """Take a number of steps, an array or a schedule as a hyperparameter.

    >>> as_steps("every_steps", 2, minimum=1)
    2.0
    >>> as_steps("every_steps", 2.5, minimum=1)
    Traceback (most recent call last):
    ValueError: every_steps must be a whole number, got 2.5.
    """
    check_number(name, value)
    if not isinstance(value, numbers.Real):
        return value
    number = float(value)
    check_count(name, int(number) if number.is_integer() else value, minimum=minimum)
    return number
