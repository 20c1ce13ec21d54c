"""Hyperparameters as data: numbers in the state, arrays as given, schedules as read.

A number lives in the state alone: it is never baked into a compiled step, and
`optax.tree.set(state, name=value)` changes it without a new compilation. An array or
tracer is taken as given at each update, so that `inject_hyperparams` and `vmap` reach it.
A schedule is read at the count of the steps done before this one.
"""

import numbers
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from typing_extensions import TypeAliasType

Scalar = int | float | Array
# Named, so that a signature shows the name in place of all it stands for.
ScalarOrSchedule = TypeAliasType("ScalarOrSchedule", Scalar | Callable[[Any], Any])


def as_key(key: Any) -> Array:
    """Give a JAX key as it is, of a seed the key.

    >>> print(as_key(7) == jax.random.key(7))
    True
    >>> as_key(0.5)
    Traceback (most recent call last):
    TypeError: key must be a JAX key or a seed, a whole number, got 0.5.
    """
    if isinstance(key, jax.Array):
        return key
    if not isinstance(key, numbers.Integral) or isinstance(key, bool):
        raise TypeError(f"key must be a JAX key or a seed, a whole number, got {key!r}.")
    return jax.random.key(int(key))


def as_scalar(value: Any) -> Array:
    """A strongly typed scalar of JAX's default float dtype, never a parameter's."""
    # A copy: the caller's array must outlive a donated state.
    return jnp.array(value, dtype=jnp.result_type(float))


def first_values(given: Mapping[str, ScalarOrSchedule]) -> dict[str, Array]:
    """The hyperparameters as the state holds them before the first step."""
    start = jnp.zeros((), jnp.int32)
    return {
        name: as_scalar(_first(name, value, start) if callable(value) else value)
        for name, value in given.items()
    }


def _first(name: str, schedule: Callable[[Any], Any], start: Array) -> Any:
    try:
        value = schedule(start)
    except TypeError as error:
        raise TypeError(
            f"{name} must be a number or a function of the steps done: {error}"
        ) from error
    is_number = isinstance(value, (numbers.Real, np.ndarray, jax.Array))
    if not is_number or np.shape(value) != ():
        raise TypeError(
            f"{name} must be a schedule that gives a number, got {value!r} from it."
        )
    return value


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
