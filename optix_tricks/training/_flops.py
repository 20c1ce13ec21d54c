"""Operations of a function's matrix products and convolutions, counted before it runs."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optix_tricks.training._batch import Batch
from optix_tricks.training._job import Job
from optix_tricks.training._state import TrainState


def matrix_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """Count the operations of matrix products and convolutions: two a multiply-add.

        product       2 · size of the result · contracted elements
        convolution   2 · size of the result · kernel's window · channels of a group

    Zeros that a strided convolution's gradient would put between elements are not
    counted, those around images are. A loop counts as often as it runs, if that is known;
    of `cond` its dearest branch; a `while` once. All else, which is bound by memory, is
    left out.

    Args:
      function: traced, not run; a compiled one too.
      arguments: arrays, or shapes without values.

    Examples:
      >>> import jax.numpy as jnp
      >>> a, b = jnp.ones((2, 3)), jnp.ones((3, 5))
      >>> matrix_flops(jnp.matmul, a, b)
      60
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr)


def step_flops(job: Job, state: TrainState, data: Batch) -> int:
    """Count those of a step of a job on a batch of the data, which are not looked at."""

    def some(x: Any) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(x.dtype)
        return jax.ShapeDtypeStruct((job.batch_size, *x.shape[1:]), dtype)

    numbers = jax.ShapeDtypeStruct((job.batch_size,), jnp.int32)
    batch = jax.tree.map(some, data._replace(indices=None))
    return matrix_flops(job.step, state, batch._replace(indices=numbers))


def _of_jaxpr(jaxpr: Any) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, given = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = given["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2 * equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
    if name == "conv_general_dilated":
        _, channels, *window = given["dimension_numbers"].rhs_spec
        shape = equation.invars[1].aval.shape
        each = shape[channels] * math.prod(shape[i] for i in window)
        between = math.prod(given["lhs_dilation"])
        return 2 * equation.outvars[0].aval.size * each // between
    inner = [_of_jaxpr(each) for each in _inner(given)]
    if name == "cond":
        return max(inner, default=0)
    return sum(inner) * (given["length"] if name == "scan" else 1)


def _inner(given: dict[str, Any]) -> list[Any]:
    found = []
    for value in given.values():
        for x in value if isinstance(value, tuple | list) else [value]:
            x = getattr(x, "jaxpr", x)
            if hasattr(x, "eqns"):
                found.append(x)
    return found
