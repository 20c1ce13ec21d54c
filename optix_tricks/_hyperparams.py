"""Hyperparameters as data: numbers in the state, arrays as given, schedules as read.

A number lives in the state alone: it is never baked into a compiled step, and
`optax.tree.set(state, name=value)` changes it without a new compilation. An array or
tracer is taken as given at each update, so that `inject_hyperparams` and `vmap` reach it.
A schedule is read at the count of the steps done before this one.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

Scalar = int | float | Array
ScalarOrSchedule = Scalar | Callable[[Any], Any]


def as_key(key: Array | int) -> Array:
    """Take a seed for the key that `jax.random.key` makes of it.

    >>> as_key(3) == jax.random.key(3)
    Array(True, dtype=bool)
    """
    return jax.random.key(key) if isinstance(key, int | np.integer) else key


def as_scalar(value: Any) -> Array:
    """A strongly typed scalar of JAX's default float dtype, never a parameter's."""
    # A copy: the caller's array must outlive a donated state.
    return jnp.array(value, dtype=jnp.result_type(float))


def first_values(given: Mapping[str, ScalarOrSchedule]) -> dict[str, Array]:
    """The hyperparameters as the state holds them before the first step."""
    start = jnp.zeros((), jnp.int32)
    return {
        name: as_scalar(value(start) if callable(value) else value)
        for name, value in given.items()
    }


def current_values(
    given: Mapping[str, ScalarOrSchedule], kept: Mapping[str, Any], count: Array
) -> dict[str, Array]:
    """The hyperparameters of this step; `kept` are those in the state."""
    return {name: _current(value, kept[name], count) for name, value in given.items()}


def _current(given: ScalarOrSchedule, kept: Any, count: Array) -> Array:
    if callable(given):
        return as_scalar(given(count))
    if isinstance(given, jax.Array):
        return as_scalar(given)
    # A user may have set a Python number there.
    return kept if isinstance(kept, jax.Array) else as_scalar(kept)
