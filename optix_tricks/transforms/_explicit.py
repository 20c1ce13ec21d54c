"""Algebra on arrays whose shardings are in their types: the compiler places it.

With explicit mesh axes JAX asks of each product and reshape how its result is to be laid
out. What is written here for any mesh runs with these axes automatic, as on all others.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jax.sharding import NamedSharding, PartitionSpec, auto_axes, explicit_axes
from jaxtyping import Array

from optix_tricks._tree import PyTree


def placed_by_compiler(function: Callable[..., Array], x: Array, *more: Any) -> Array:
    """Return `function(x, *more)`, sharded like `x`."""
    if not _is_explicit(x):
        return function(x, *more)
    return auto_axes(function, out_sharding=_sharding(x))(x, *more)


def on_any_mesh(
    tx: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Let `tx` compute so, and its state be sharded like the parameters.

    The loss, `value_fn`, sees its parameters as the caller has them.
    """

    def init(params: PyTree) -> Any:
        if not _is_explicit(params):
            return tx.init(params)
        shapes = jax.eval_shape(
            tx.init,
            jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params),
        )
        return auto_axes(tx.init, out_sharding=_like(shapes, params))(params)

    def update(
        updates: PyTree, state: Any, params: PyTree, *, value_fn: Any = None, **given: Any
    ) -> tuple[PyTree, Any]:
        if not _is_explicit(updates):
            return tx.update(updates, state, params, value_fn=value_fn, **given)
        at = jax.tree.map(_sharding, params)
        loss = None if value_fn is None else explicit_axes(value_fn, in_sharding=(at,))

        def computed(updates: PyTree, state: Any, params: PyTree, given: dict) -> tuple:
            return tx.update(updates, state, params, value_fn=loss, **given)

        placed = jax.tree.map(_sharding, (updates, state))
        return auto_axes(computed, out_sharding=placed)(updates, state, params, given)

    return optax.GradientTransformationExtraArgs(init, update)


def _is_explicit(tree: PyTree) -> bool:
    return any(_sharding(x).mesh.explicit_axes for x in jax.tree.leaves(tree))


def _sharding(x: Any) -> NamedSharding:
    return jax.typeof(x).sharding


def _like(state: Any, params: PyTree) -> Any:
    """Shardings of a state: of a parameter what has its shape, or a queue of them."""
    mesh = _sharding(jax.tree.leaves(params)[0]).mesh
    form: Any = jax.tree.structure(params)

    def one(x: Any, w: Any) -> NamedSharding:
        spec = _sharding(w).spec
        if x.shape[1:] == w.shape:
            return NamedSharding(mesh, PartitionSpec(None, *spec))
        return NamedSharding(mesh, spec if x.shape == w.shape else PartitionSpec())

    def is_like_params(part: Any) -> bool:
        return form == jax.tree.structure(part)

    def of_part(part: Any) -> Any:
        if is_like_params(part):
            return jax.tree.map(one, part, params)
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree.map(of_part, state, is_leaf=is_like_params)
