"""What full-batch methods share: the loss as a function of parameters in one dtype."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array

from optix_tricks._tree import PyTree, check_floating, is_none, wide_dtype
from optix_tricks.transforms._explicit import on_any_mesh
from optix_tricks.transforms._in_float32 import round_like

Loss = Callable[[PyTree], Array]

dot = functools.partial(jnp.dot, precision=lax.Precision.HIGHEST)
"""Products that no accelerator rounds to fewer bits."""


def in_one_dtype(
    method: str,
    tx: optax.GradientTransformationExtraArgs,
    *,
    needs_value_fn: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Let `tx` see parameters, gradients and loss in one dtype, float32 or wider.

    Updates leave in the dtype of the gradients, and the state has no weak types.
    Parameters whose gradient is None stay as they are. Extra arguments of `update` that
    `value_fn` names are passed to it, the others dropped.

    Args:
      method: the name of `tx`, for errors.
      tx: its update is given `params`, `value`, `grad` and `value_fn`.
      needs_value_fn: False passes all but `params` as they came.
    """
    tx = on_any_mesh(tx)

    def init_fn(params: PyTree) -> Any:
        check_floating(params)
        dtype = common_dtype(params)
        zeros = jax.tree.map(lambda x: jnp.zeros_like(x, dtype=dtype), params)
        if jax.tree.leaves(zeros):
            state = tx.init(zeros)
        else:  # Optax's line searches want a leaf: an empty array keeps the place
            state = tx.init(jnp.zeros(0))
            state = jax.tree.map(lambda x: params if x.shape == (0,) else x, state)
        # Copies: an array that stands in a state twice could not be donated.
        return without_weak_types(jax.tree.map(jnp.copy, state))

    def update_fn(
        updates: PyTree,
        state: Any,
        params: PyTree | None = None,
        *,
        value: Any = None,
        grad: PyTree | None = None,
        value_fn: Any = None,
        **extra_args: Any,
    ) -> tuple[PyTree, Any]:
        check_floating(updates)
        if not jax.tree.leaves(updates):
            return updates, state
        given = {"value": value, "grad": grad, "value_fn": value_fn}
        check_given(method, params=params, **(given if needs_value_fn else {}))
        dtype = common_dtype(params)
        if needs_value_fn:
            given = {
                "value": jnp.asarray(value, dtype),
                "grad": cast(with_zeros(grad, params), dtype),
                "value_fn": loss_in_one_dtype(value_fn, params, updates, extra_args),
            }
        gradients = cast(with_zeros(updates, params), dtype)
        wide, state = tx.update(gradients, state, cast(params, dtype), **given)
        return round_like(wide, updates), without_weak_types(state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def check_given(method: str, **given: Any) -> None:
    """Raise a ValueError that names what of `given` is None."""
    missing = [name for name, x in given.items() if x is None]
    if missing:
        raise ValueError(
            f"{method} evaluates the loss itself and needs {', '.join(missing)}: call "
            "update(grads, state, params, value=value, grad=grads, value_fn=value_fn), "
            "where value_fn(params) is the loss."
        )


def loss_in_one_dtype(
    value_fn: Any, params: PyTree, updates: PyTree, extra_args: Mapping[str, Any]
) -> Loss:
    """Return the loss as a function of parameters in one dtype, with a value in it.

    It does not depend on parameters without a gradient in `updates`.
    """
    check_floating(params)
    known = inspect.signature(value_fn).parameters
    arguments = {name: x for name, x in extra_args.items() if name in known}
    dtype = common_dtype(params)

    def loss(x: PyTree) -> Array:
        at = jax.tree.map(
            lambda w, x, g: w if g is None else x.astype(jnp.result_type(w)),
            params,
            x,
            updates,
            is_leaf=is_none,
        )
        return jnp.asarray(value_fn(at, **arguments), dtype)

    return loss


def without_rise(step: PyTree, search: Any, value: Array) -> tuple[PyTree, Any, Array]:
    """Take no step where a line search failed and ended above the loss.

    Returns:
      The step; the search's state, whose value is then infinite, which tells
      `optax.value_and_grad_from_state` to evaluate anew; whether the step was refused.
    """
    refused = (search.info.decrease_error > 0) & ~(search.value <= value)
    step = jax.tree.map(lambda x: jnp.where(refused, 0.0, x), step)
    search = search._replace(value=jnp.where(refused, jnp.inf, search.value))
    return step, search, refused


def search_report(search: Any) -> dict[str, Any]:
    """What a method reports of its line search, if it has one that tells."""
    if not hasattr(search, "info"):
        return {}
    return {
        "step_size": search.learning_rate,
        "linesearch_steps": search.info.num_linesearch_steps,
        "decrease_error": search.info.decrease_error,
    }


def common_dtype(tree: PyTree) -> Any:
    """The widest dtype in `tree`, at least float32."""
    return wide_dtype(*map(jnp.result_type, jax.tree.leaves(tree)))


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """Cast every leaf to `dtype`."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


def with_zeros(grads: PyTree, params: PyTree) -> PyTree:
    """Put zeros where a parameter has None for a gradient."""
    return jax.tree.map(
        lambda w, g: jnp.zeros_like(w) if g is None and w is not None else g,
        params,
        grads,
        is_leaf=is_none,
    )


def without_weak_types(state: Any) -> Any:
    """Give arrays made of Python numbers their dtype for good."""
    return jax.tree.map(lambda x: lax.convert_element_type(x, x.dtype), state)
