"""The core: lifts a rule for one array into an `optax.GradientTransformation`.

An optimiser is written once, for one array, like its equation. Everything that must hold
for every optimiser is decided here: dtypes, masks, hyperparameters as data, the step
count, what is reported, and the shape of the state. docs/numerics.md states the contract.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from optax import MaskedNode

from optix_tricks._hyperparams import (
    ScalarOrSchedule,
    as_scalar,
    current_values,
    first_values,
)
from optix_tricks._layout import Packed, WholeLeaf
from optix_tricks._slots import (
    PARAMETER,
    PER_LAYER,
    Form,
    PerUnit,
    Queue,
    first_slot,
    put,
    take,
)
from optix_tricks._storage import check_state_dtype, load, store
from optix_tricks._tree import (
    Mask,
    PyTree,
    cast,
    check_floating,
    is_none,
    resolve_labels,
    resolve_mask,
    wide_dtype,
    widen,
)

__all__ = ["PARAMETER", "PER_LAYER", "PerUnit", "Queue", "leafwise", "look_at"]


def leafwise(
    rule: Callable[..., tuple],
    state: Callable[..., Any],
    *,
    hyperparams: Mapping[str, ScalarOrSchedule] | None = None,
    slots: Mapping[str, Any] | None = None,
    slot_dtypes: Mapping[str, Any] | None = None,
    prepare: Callable[..., dict[str, Array]] | None = None,
    reports: Sequence[str] = (),
    mask: Mask | None = None,
    labels: Any = None,
    state_dtype: Any = None,
    needs_params: bool = False,
    layerwise: bool = False,
    stateless: bool = False,
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
      slots: the initial value of each slot, by name: a number, `PARAMETER`, `PER_LAYER`,
        a `PerUnit` or a `Queue`.
      slot_dtypes: dtypes of single slots, by name; None for that of all.
      prepare: `prepare(hyperparams, count, gradients, parameters) -> dict` is called
        once a step with the count of steps including this one and the unmasked leaves.
      reports: the names among `prepare`'s results that are state fields.
      mask: which leaves the rule acts on; the others pass unchanged and have no slots.
      labels: one static value for each leaf, as a tree, a prefix or a function; the
        rule finds it in `layer.map`.
      state_dtype: dtype of the slots: None for float32 (float64 for float64
        parameters), bfloat16, or int8 in blocks; see `_storage`.
      needs_params: the rule reads `w`.
      layerwise: the rule takes `layer=`, a `WholeLeaf` or `SegmentedLeaf`.
      stateless: no step depends on one before. Without a schedule an update then takes
        any state, None too, as Optax's stateless ones do, and returns it as it was.
    """
    hyperparams = dict(hyperparams or {})
    slots = dict(slots or {})
    check_state_dtype(state_dtype)
    own_dtypes = {name: x for name, x in (slot_dtypes or {}).items() if x is not None}
    takes_any = stateless and not any(map(callable, hyperparams.values()))

    def init_fn(params: PyTree) -> Any:
        leaves, form, keep, layers = look_at(params, mask, labels)

        def new(value: Any, dtype: Any, w: Any, kept: bool, layer: Any) -> Any:
            if w is None or not kept:
                return None if w is None else MaskedNode()
            return first_slot(value, w, layer, dtype)

        def new_tree(value: Any, dtype: Any) -> PyTree:
            looks = zip(leaves, keep, layers, strict=True)
            return put(value, [new(value, dtype, *look) for look in looks], form)

        return state(
            count=jnp.zeros((), jnp.int32),
            hyperparams=first_values(hyperparams),
            **{
                name: new_tree(value, own_dtypes.get(name, state_dtype))
                for name, value in slots.items()
            },
            **{name: jnp.zeros((), jnp.result_type(float)) for name in reports},
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
        if not hasattr(state_, "hyperparams") and takes_any:
            first = init_fn(updates if params is None else params)
            return update_fn(updates, first, params)[0], state_
        if not hasattr(state_, "hyperparams"):
            raise ValueError(
                f"state must be a {state.__name__}, got {type(state_).__name__}: take it "
                "from init(params)."
            )
        leaves, form, keep, layers = look_at(
            updates, mask, labels, like=updates if params is None else params
        )
        old_slots = [
            take(value, getattr(state_, name), form) for name, value in slots.items()
        ]
        ws: list[Any] = [None] * len(leaves)
        if params is not None:
            ws = form.boxed.flatten_up_to(params)
        keep = [k and g is not None for g, k in zip(leaves, keep, strict=True)]
        count = optax.safe_increment(state_.count)
        values = current_values(hyperparams, state_.hyperparams, state_.count)
        scalars = dict(values)
        if prepare is not None:
            gs = [g for g, k in zip(leaves, keep, strict=True) if k]
            kept_ws = [w for w, k in zip(ws, keep, strict=True) if k]
            # In the dtype of the rule: both must see the same rounded decay.
            dtype = wide_dtype(*(g.dtype for g in gs))
            rounded = {name: x.astype(dtype) for name, x in values.items()}
            made = prepare(rounded, count, gs, kept_ws)
            scalars |= made | _once(
                {k: x for k, x in made.items() if k not in reports}, count
            )
        said = {name: as_scalar(scalars.pop(name)) for name in reports}

        kept = [i for i, k in enumerate(keep) if k]
        # Once a dtype, not once a leaf.
        dtypes = {wide_dtype(leaves[i].dtype) for i in kept}
        of_dtype = {
            dtype: {name: x.astype(dtype) for name, x in scalars.items()}
            for dtype in dtypes
        }
        new_updates, new_slots = list(leaves), [list(column) for column in old_slots]
        for i in kept:
            g = widen(leaves[i])
            w = None if ws[i] is None else cast(_as_array(ws[i]), g.dtype)
            old = [column[i] for column in old_slots]
            arguments = of_dtype[g.dtype]
            if layerwise:
                arguments = arguments | {"layer": layers[i]}
            u, *new = rule(g, w, *(load(s, g.dtype) for s in old), **arguments)
            new_updates[i] = cast(u, leaves[i].dtype)
            for column, before, after in zip(new_slots, old, new, strict=True):
                column[i] = store(after, before, count)
        trees = {
            name: put(value, column, form)
            for (name, value), column in zip(slots.items(), new_slots, strict=True)
        }
        new_state = state(count=count, hyperparams=values, **trees, **said)
        return form.boxed.unflatten(new_updates), new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _once(scalars: dict[str, Any], count: Array) -> dict[str, Any]:
    """Return scalars so that XLA computes them once, not again in the loop of each leaf.

    What is cheap XLA writes into every loop that reads it; a division of floats is not
    cheap. x / (t / t) is x, bit for bit.
    """

    @functools.cache
    def one(dtype: Any) -> Array:
        t = count.astype(dtype)
        return t / t

    return {
        name: x / one(x.dtype)
        for name, x in scalars.items()
        if jnp.ndim(x) == 0 and jnp.issubdtype(x.dtype, jnp.floating)
    }


def look_at(
    tree: PyTree, mask: Mask | None, labels: Any = None, like: PyTree = None
) -> tuple[list, Form, list[bool], list]:
    """Leaves, structure, mask and layers of a tree, packed or plain."""
    if not isinstance(tree, Packed) and _holds_packed(tree):
        raise ValueError("a packed tree must stand alone: pack the whole tree at once.")
    leaves = jax.tree.leaves(tree, is_leaf=is_none)
    if isinstance(tree, Packed):
        is_there = [not isinstance(x, MaskedNode) for x in tree.buffers]
        keep = [*itertools.compress(tree.layout.mask_buffers(mask), is_there)]
        layers: list[Any] = [*itertools.compress(tree.layout.layers(labels), is_there)]
    else:
        like = tree if like is None else like
        keep = resolve_mask(mask, like)
        layers = [WholeLeaf(*x) for x in enumerate(resolve_labels(labels, like))]
    if len(leaves) != len(keep):
        raise ValueError(
            f"updates must have the structure of params, got {len(leaves)} leaves "
            f"for {len(keep)}; None may stand for one leaf."
        )
    check_floating(tree, keep)
    leaves = [_as_array(x) if k else x for x, k in zip(leaves, keep, strict=True)]
    return leaves, Form(tree), keep, layers


def _holds_packed(tree: PyTree) -> bool:
    def is_packed(x: Any) -> bool:
        return isinstance(x, Packed)

    return any(map(is_packed, jax.tree.leaves(tree, is_leaf=is_packed)))


def _as_array(x: Any) -> Any:
    """Take NumPy arrays and numbers in; leave None, tracers and shapes as they are."""
    return jnp.asarray(x) if isinstance(x, (np.ndarray, np.generic, float)) else x
