"""What a value is: a number, an array, a schedule, a dtype, ...; no tracer is read."""

import inspect
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

COUNTS = range(-(2**31), 2**31)  # what JAX counts in
INTEGERS = range(-(2**63), 2**63)
ANY_SIZE = range(-(2**1000), 2**1000)  # that a float has
ARRAYS = (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)


def has_dtype(names: Any, dtype: Any) -> bool:
    if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        return "prng_key" in str(names)
    return not isinstance(names, tuple) or str(dtype) in names


def is_real(x: Any) -> bool:
    if isinstance(x, numbers.Integral):
        return is_whole(x)
    return isinstance(x, numbers.Real)


def is_jax_number(x: Any) -> bool:
    """Whether JAX has it: a whole number in 32 bits, in 64 with `jax_enable_x64`."""
    wide = jax.config.values["jax_enable_x64"]
    return is_real(x) and (not is_whole(x) or is_whole(x, INTEGERS if wide else COUNTS))


def is_whole(x: Any, within: range = INTEGERS) -> bool:
    whole = isinstance(x, numbers.Integral) and not isinstance(x, bool)
    return whole and int(x) in within


def is_real_array(x: Any) -> bool:
    return isinstance(x, ARRAYS) and (
        jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)
    )


def is_known_array(x: Any) -> bool:
    traced = (jax.core.Tracer, jax.ShapeDtypeStruct)
    return isinstance(x, ARRAYS) and not isinstance(x, traced)


def is_scalar(x: Any) -> bool:
    return is_jax_number(x) or (is_real_array(x) and x.shape == ())


def is_tree_of_arrays(x: Any) -> bool:
    def holds(leaf: Any) -> bool:
        if not isinstance(leaf, ARRAYS):
            return isinstance(leaf, float) or (leaf is not x and isinstance(leaf, int))
        return getattr(leaf.dtype, "kind", "") not in ("O", "U", "S")

    leaves = jax.tree.leaves(x)
    return x is not None and all(map(holds, leaves))


def is_examples(x: Any) -> bool:
    leaves = jax.tree.leaves(x)
    return is_tree_of_arrays(x) and bool(leaves) and len(np.shape(leaves[0])) > 0


def is_callable(x: Any) -> bool:
    """Whether it can be called for what it computes; `dict` and its kin only convert."""
    return callable(x) and not (inspect.isclass(x) and x.__module__ == "builtins")


def is_schedule(x: Any) -> bool:
    """Whether it may give numbers; what is annotated to make an optimiser does not."""
    gives = str(getattr(x, "__annotations__", {}).get("return"))
    makes_other = "GradientTransformation" in gives
    return callable(x) and not inspect.isclass(x) and not makes_other


def is_dtype(x: Any) -> bool:
    if isinstance(x, ARRAYS):
        return False
    try:
        named = jnp.dtype(x)
    except (TypeError, ValueError):
        return False
    return x is not None and named.names is None and named.kind != "O"


def is_transformation(x: Any) -> bool:
    parts = (getattr(x, "init", None), getattr(x, "update", None))
    return not inspect.isclass(x) and all(map(callable, parts))


def described(value: Any) -> str:
    """Say what a value is: short ones as they are, arrays by dtype and shape.

    >>> import jax.numpy as jnp
    >>> print(described(None), described([1, 2]), described(jnp.ones(2)), sep="; ")
    None; a list; an array float32[2]
    """
    if isinstance(value, ARRAYS):
        shape = ", ".join(str(side) for side in value.shape)
        traced = "a traced" if isinstance(value, jax.core.Tracer) else "an"
        return f"{traced} array {value.dtype}[{shape}]"
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:40]}... ({type(value).__name__})"
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    if inspect.isfunction(value):
        return f"the function {value.__name__}"
    word = type(value).__name__
    return f"{'an' if word[0] in 'aeiouAEIOU' else 'a'} {word}"
