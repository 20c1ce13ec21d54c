"""The core: lifts a rule for one array into an `optax.GradientTransformation`.

An optimiser is written once, for one array, like its equation. Everything that must hold
for every optimiser is decided here: dtypes, masks, hyperparameters as data, the step
count, what is reported, and the shape of the state. docs/numerics.md states the contract.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array

from optix_tricks._packed import Packed, SegmentedLeaf, WholeLeaf
from optix_tricks._tree import Mask, PyTree, is_none, path_name, resolve_mask, widen

Scalar = float | Array
ScalarOrSchedule = Scalar | Callable[[Any], Any]

PER_LAYER = object()
"""Initial value of a slot that holds one float32 number per layer, for reports."""


def leafwise(
    rule: Callable[..., tuple[Array, ...]],
    state: Callable[..., Any],
    *,
    hyperparams: Mapping[str, ScalarOrSchedule] | None = None,
    slots: Mapping[str, Any] | None = None,
    prepare: Callable[..., dict[str, Array]] | None = None,
    reports: Sequence[str] = (),
    mask: Mask | None = None,
    state_dtype: Any = None,
    needs_params: bool = False,
    layerwise: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Lift a rule for one array to trees of arrays.

    Args:
      rule: `rule(g, w, *slots, **scalars) -> (update, *slots)`. The arrays come in
        float32 (float64 if the gradient is), whatever is stored. `w` is the parameter,
        or None where the caller gave none. The scalars are the hyperparameters and what
        `prepare` returned, less the reports.
      state: the state's NamedTuple class, with the fields `count`, `hyperparams`, then
        one for each slot and each report.
      hyperparams: numbers, arrays or schedules of the step count, by name.
      slots: the initial value of each slot, by name: a number, or `PER_LAYER`.
      prepare: `prepare(hyperparams, count, gradients, parameters) -> dict` is called
        once a step with the count of steps including this one and the unmasked leaves.
      reports: the names among `prepare`'s results that are state fields.
      mask: which leaves the rule acts on; the others pass unchanged and have no slots.
      state_dtype: dtype of the slots: None for float32 (float64 for float64
        parameters), or bfloat16, which is rounded with a dither (see `_store`).
      needs_params: the rule reads `w`.
      layerwise: the rule takes `layer=`, an object with `norm(x)` and `spread(r)`.
    """
    hyperparams = dict(hyperparams or {})
    slots = dict(slots or {})
    _check_state_dtype(state_dtype)

    def init_fn(params: PyTree) -> Any:
        leaves, treedef, keep, layers = _look_at(params, mask)

        def new(value: Any, w: Any, kept: bool, layer: Any) -> Any:
            if w is None or not kept:
                return None if w is None else optax.MaskedNode()
            if value is PER_LAYER:
                return jnp.zeros(layer.shape, jnp.float32)
            dtype = state_dtype or jnp.promote_types(w.dtype, jnp.float32)
            return jnp.full_like(w, value, dtype=dtype)  # keeps a sharding

        trees = {
            name: treedef.unflatten(
                [new(value, *leaf) for leaf in zip(leaves, keep, layers, strict=True)]
            )
            for name, value in slots.items()
        }
        count = jnp.zeros((), jnp.int32)
        return state(
            count=count,
            hyperparams={
                name: _scalar(value(count) if callable(value) else value)
                for name, value in hyperparams.items()
            },
            **trees,
            **{name: jnp.zeros((), _scalar(0.0).dtype) for name in reports},
        )

    def update_fn(
        updates: PyTree, state_: Any, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, Any]:
        del extra_args
        if needs_params and params is None:
            raise ValueError(
                f"params must be given to this transformation ({state.__name__}): "
                "call update(updates, state, params)."
            )
        leaves, treedef, keep, layers = _look_at(
            updates, mask, like=updates if params is None else params
        )
        old_slots = [treedef.flatten_up_to(getattr(state_, name)) for name in slots]
        ws: list[Any] = [None] * len(leaves)
        if params is not None:
            ws = treedef.flatten_up_to(params)
        keep = [k and g is not None for g, k in zip(leaves, keep, strict=True)]
        count = optax.safe_increment(state_.count)
        values = {
            name: _current(value, state_.hyperparams[name], state_.count)
            for name, value in hyperparams.items()
        }
        scalars = dict(values)
        if prepare is not None:
            kept = [i for i, k in enumerate(keep) if k]
            scalars |= prepare(
                values, count, [leaves[i] for i in kept], [ws[i] for i in kept]
            )
        said = {name: _scalar(scalars.pop(name)) for name in reports}

        new_updates, new_slots = list(leaves), [list(column) for column in old_slots]
        for i in (i for i, k in enumerate(keep) if k):
            g = widen(leaves[i])
            w = None if ws[i] is None else _as_array(ws[i]).astype(g.dtype)
            old = [column[i] for column in old_slots]
            arguments = {k: v.astype(g.dtype) for k, v in scalars.items()}
            if layerwise:
                arguments["layer"] = layers[i]
            u, *new = rule(g, w, *(s.astype(g.dtype) for s in old), **arguments)
            new_updates[i] = u.astype(leaves[i].dtype)
            for column, before, after in zip(new_slots, old, new, strict=True):
                column[i] = _store(after, before.dtype, count)
        trees = {
            name: treedef.unflatten(column)
            for name, column in zip(slots, new_slots, strict=True)
        }
        new_state = state(count=count, hyperparams=values, **trees, **said)
        return treedef.unflatten(new_updates), new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _look_at(
    tree: PyTree, mask: Mask | None, like: PyTree = None
) -> tuple[list, Any, list[bool], list]:
    """Leaves, structure, mask and layers of a tree, packed or plain."""
    with_paths, treedef = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_none)
    for path, x in with_paths:
        if x is not None and not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            raise ValueError(
                f"gradients and parameters must be real floating-point arrays, got "
                f"{jnp.result_type(x)} at '{path_name(path)}': mask such leaves out with "
                "optax.masked, or split complex ones with "
                "optax.contrib.split_real_and_imaginary."
            )
    leaves = [_as_array(x) for _, x in with_paths]
    if isinstance(tree, Packed):
        layers: list = [
            SegmentedLeaf(tree.layout.of_buffer(i)) for i in range(len(leaves))
        ]
        return leaves, treedef, tree.layout.mask_buffers(mask), layers
    keep = resolve_mask(mask, tree if like is None else like)
    return leaves, treedef, keep, [WholeLeaf()] * len(leaves)


def _as_array(x: Any) -> Any:
    """Take NumPy arrays and numbers in; leave None, tracers and shapes as they are."""
    return jnp.asarray(x) if isinstance(x, (np.ndarray, np.generic, float)) else x


def _scalar(value: Any) -> Array:
    """A strongly typed scalar of JAX's default float dtype, never a parameter's."""
    # A copy: the caller's array must outlive a donated state.
    return jnp.array(value, dtype=jnp.result_type(float))


def _current(given: ScalarOrSchedule, kept: Array, count: Array) -> Array:
    """This step's value of a hyperparameter.

    A schedule is read at the count of the steps done before this one. An array or
    tracer is taken as given, so that `inject_hyperparams` and `vmap` reach it. A number
    lives in the state alone: it is never baked into a compiled step, and
    `optax.tree.set(state, name=value)` changes it without a new compilation.
    """
    if callable(given):
        return _scalar(given(count))
    return _scalar(given) if isinstance(given, jax.Array) else kept


def _store(x: Array, dtype: Any, count: Array) -> Array:
    """Round to the slot's dtype, to bfloat16 with a dither.

    bfloat16 has 8 bits: with decay 0.999 an average changes by less than half a unit and
    plain rounding would freeze it. Before truncation a Weyl sequence in step and index,
    equidistributed over one unit, is added to the bits that are lost; averaged over the
    steps the rounding has no bias, and needs no random numbers.
    """
    if dtype != jnp.bfloat16:
        return x.astype(dtype)
    bits = lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    index = lax.iota(jnp.uint32, x.size).reshape(x.shape)
    # 2^16 times the golden and the plastic ratio's fractions, made odd.
    dither = (index * jnp.uint32(49471) + count.astype(jnp.uint32) * 40503) & 0xFFFF
    rounded = lax.bitcast_convert_type(
        (bits + dither) & jnp.uint32(0xFFFF0000), jnp.float32
    )
    # The difference is exact; held fixed, so that derivatives pass the rounding.
    rounded = x + lax.stop_gradient(rounded - x)
    return jnp.where(jnp.isfinite(x), rounded, x).astype(dtype)


def _check_state_dtype(dtype: Any) -> None:
    allowed = ("bfloat16", "float32", "float64")
    try:
        known = dtype is None or jnp.dtype(dtype).name in allowed
    except TypeError:
        known = False
    if not known:
        raise ValueError(
            f"state_dtype must be None, bfloat16, float32 or float64, got {dtype!r}."
        )
