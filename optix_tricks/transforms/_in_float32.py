"""Chains and wrappers of 16-bit gradients: float32 inside, one rounding at the end."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optix_tricks._tree import (
    PyTree,
    check_floating,
    is_inexact,
    is_none,
    wide_dtype,
    widen,
)


def in_float32(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Let `inner` see parameters and gradients in float32 or wider, from init on.

    Its updates come back wide; round them once, with `round_like`. Transformations that
    keep slots in the parameters' dtype then keep float32. Leaves that are no numbers of
    16 bits or more stay what they are: whether they may be there, `inner` decides.

    Raises:
      ValueError: in update, if the gradient of a parameter with numbers has none.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: PyTree) -> Any:
        return inner.init(_widen_tree(params))

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, Any]:
        if params is not None:
            _check_gradients(updates, params)
            params = _widen_tree(params)
        return inner.update(_widen_tree(updates), state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(init, update)


def chain_in_float32(
    *links: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Chain links as `optax.chain` does, without rounding to 16 bits between them.

    Each link returns updates in the dtype in which they came. In a plain chain of
    bfloat16 gradients the small decay that a second link adds to a large update is then
    lost; here the links see float32 and the result alone is rounded.
    """
    wide = in_float32(optax.chain(*links))

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, Any]:
        new_updates, state = wide.update(updates, state, params, **extra_args)
        return round_like(new_updates, updates), state

    return optax.GradientTransformationExtraArgs(wide.init, update)


def round_like(wide: PyTree, updates: PyTree) -> PyTree:
    """Cast each leaf of `wide` to the dtype of its counterpart, None to None."""

    def rounded(g: Any, u: Any) -> Any:
        if is_inexact(g):
            return u.astype(jnp.result_type(g))
        return None if g is None else u

    return jax.tree.map(rounded, updates, wide, is_leaf=is_none)


def _check_gradients(updates: PyTree, params: PyTree) -> None:
    gs, ws = (jax.tree.leaves(tree, is_leaf=is_none) for tree in (updates, params))
    if len(gs) == len(ws):  # else `inner` refuses them
        pairs = zip(gs, ws, strict=True)
        check_floating(updates, [is_inexact(w) and not is_inexact(g) for g, w in pairs])


def _widen_tree(tree: PyTree) -> PyTree:
    def wide(x: Any) -> Any:
        if not is_inexact(x):
            return x
        if isinstance(x, jax.ShapeDtypeStruct):
            return x.update(dtype=wide_dtype(x.dtype))
        return widen(jnp.asarray(x))

    return jax.tree.map(wide, tree)
