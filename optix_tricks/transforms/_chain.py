"""A chain of links that rounds once, at its end."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optix_tricks._tree import PyTree, widen


def chain_in_float32(
    *links: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Chain links as `optax.chain` does, without rounding to 16 bits between them.

    Each link returns updates in the dtype in which they came. In a plain chain of
    bfloat16 gradients the small decay that a second link adds to a large update is then
    lost; here the links see float32 and the result alone is rounded.
    """
    chained = optax.with_extra_args_support(optax.chain(*links))

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, Any]:
        wide = jax.tree.map(_widen_floats, updates)
        wide, state = chained.update(wide, state, params, **extra_args)
        narrow = jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), wide, updates)
        return narrow, state

    return optax.GradientTransformationExtraArgs(chained.init, update)


def _widen_floats(x: Any) -> Any:
    x = jnp.asarray(x)
    return widen(x) if jnp.issubdtype(x.dtype, jnp.floating) else x
