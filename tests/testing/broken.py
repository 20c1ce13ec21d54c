"""Transformations of some ten lines with one fault each, and the columns that find it."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optix_tricks.testing import TransformationSubject

PARAMS = {"b": jnp.arange(1.0, 9.0), "w": jnp.linspace(-1.0, 2.0, 16).reshape(2, 8)}


class State(NamedTuple):
    count: jax.Array
    trace: Any


def wide(x):
    return jnp.promote_types(x.dtype, jnp.float32) if hasattr(x, "dtype") else None


def zeros(params):
    return jax.tree.map(lambda p: jnp.zeros_like(p, wide(p)), params)


def skip_none(function, *trees):
    def leaf(x, *rest):
        return None if x is None else function(x, *rest)

    return jax.tree.map(leaf, *trees, is_leaf=lambda x: x is None)


def momentum(learning_rate, *, init=zeros, before=lambda g, count: g, after=lambda u: u):
    """Sound, if what is put into it is: moments and sums in float32, one rounding."""

    def start(params):
        return State(jnp.zeros((), jnp.int32), init(params))

    def update(grads, state, params=None):
        del params
        count = state.count + 1
        g = before(skip_none(lambda g: g.astype(wide(g)), grads), count)
        trace = jax.tree.map(
            lambda g, t: t if g is None else 0.9 * t + g,
            g,
            state.trace,
            is_leaf=lambda x: x is None,
        )
        updates = skip_none(
            lambda g, t: after((-learning_rate * t).astype(g.dtype)), grads, trace
        )
        return updates, State(count, trace)

    return optax.GradientTransformation(start, update)


def state_starts_in_the_parameters_dtype(learning_rate):
    return momentum(learning_rate, init=lambda p: jax.tree.map(jnp.zeros_like, p))


def state_grows(learning_rate):
    inner = momentum(learning_rate)

    def update(grads, state, params=None):
        updates, after = inner.update(grads, state[0], params)
        return updates, (after, jnp.append(state[1], learning_rate))

    return optax.GradientTransformation(lambda p: (inner.init(p), jnp.zeros(1)), update)


def state_is_changed_in_place(learning_rate):
    def update(grads, state, params=None):
        state["count"] = state["count"] + 1
        return inner.update(grads, None, params)[0], state

    inner = optax.stateless(
        lambda grads, _: skip_none(lambda g: (-learning_rate * g).astype(g.dtype), grads)
    )
    return optax.GradientTransformation(lambda p: {"count": jnp.zeros(())}, update)


def correction_is_in_the_gradients_dtype(learning_rate):
    def update(grads, state, params=None):
        count = state.count + 1

        def leaf(g):
            correction = 1 - jnp.asarray(0.9, g.dtype) ** count.astype(g.dtype)
            return -learning_rate * g * (1 - 0.9) / correction

        updates = skip_none(lambda g: leaf(g).astype(g.dtype), grads)
        return updates, State(count, None)

    return optax.GradientTransformation(
        lambda p: State(jnp.zeros((), jnp.int32), None), update
    )


def updates_leave_in_float32(learning_rate):
    return momentum(learning_rate, after=lambda u: u.astype(jnp.float32))


def float64_is_narrowed(learning_rate):
    def narrow(u):
        return u.astype(jnp.float32) if u.dtype == jnp.float64 else u

    return momentum(learning_rate, after=narrow)


def norm_is_of_all_leaves(learning_rate):
    def scaled(grads, count):
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(grads)) + 1.0)
        return skip_none(lambda g: g / norm, grads)

    return momentum(learning_rate, before=scaled)


def divides_by_the_norm(learning_rate):
    def scaled(grads, count):
        return skip_none(lambda g: g / jnp.sqrt(jnp.mean(g**2)), grads)

    return momentum(learning_rate, before=scaled)


def raises_at_nan(learning_rate):
    def checked(grads, count):
        for g in jax.tree.leaves(grads):
            if not isinstance(g, jax.core.Tracer) and not np.isfinite(g).all():
                raise FloatingPointError("a gradient is not finite")
        return grads

    return momentum(learning_rate, before=checked)


def knows_no_none(learning_rate):
    def update(grads, state, params=None):
        double = functools.partial(jax.tree.map, is_leaf=lambda x: x is None)
        return double(lambda g: (-learning_rate * g).astype(g.dtype), grads), state

    return optax.GradientTransformation(lambda p: optax.EmptyState(), update)


def knows_no_empty_tree(learning_rate):
    def scaled(grads, count):
        largest = functools.reduce(
            jnp.maximum, [jnp.sum(jnp.abs(g)) for g in jax.tree.leaves(grads)]
        )
        return skip_none(lambda g: g / (1 + largest), grads)

    return momentum(learning_rate, before=scaled)


def knows_no_scalar(learning_rate):
    return momentum(
        learning_rate,
        before=lambda grads, _: skip_none(lambda g: g[...,] * g.shape[-1], grads),
    )


def needs_jax_arrays(learning_rate):
    def update(grads, state, params=None):
        return skip_none(lambda g: g.at[...].multiply(-learning_rate), grads), state

    return optax.GradientTransformation(lambda p: optax.EmptyState(), update)


def needs_a_python_number(learning_rate):
    if not 0 < learning_rate < 10:
        raise ValueError("learning_rate must be between 0 and 10")
    return momentum(learning_rate)


def state_holds_the_parameters(learning_rate):
    inner = momentum(learning_rate)

    def update(grads, state, params=None):
        updates, after = inner.update(grads, state[0], params)
        return updates, (after, state[1])

    return optax.GradientTransformation(lambda p: (inner.init(p), p), update)


def state_holds_an_array_twice(learning_rate):
    def init(params):
        z = zeros(params)
        return {"fast": z, "slow": z}

    def update(grads, state, params=None):
        return skip_none(lambda g: (-learning_rate * g).astype(g.dtype), grads), state

    return optax.GradientTransformation(init, update)


def state_lies_on_one_device(learning_rate):
    def made(params):
        return jax.tree.map(lambda p: jnp.zeros(p.shape, wide(p)), params)

    return momentum(learning_rate, init=made)


def local_class():
    class Local(NamedTuple):
        count: jax.Array

    return Local


Local = local_class()


def state_is_of_a_local_class(learning_rate):
    def update(grads, state, params=None):
        updates = skip_none(lambda g: (-learning_rate * g).astype(g.dtype), grads)
        return updates, Local(state.count + 1)

    return optax.GradientTransformation(lambda p: Local(jnp.zeros((), jnp.int32)), update)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Counted:
    count: jax.Array


def state_is_unknown_to_flax(learning_rate):
    def update(grads, state, params=None):
        updates = skip_none(lambda g: (-learning_rate * g).astype(g.dtype), grads)
        return updates, Counted(state.count + 1)

    return optax.GradientTransformation(
        lambda p: Counted(jnp.zeros((), jnp.int32)), update
    )


def depends_on_the_place(learning_rate):
    def placed(grads, count):
        return skip_none(
            lambda g: g * (1 + jnp.arange(g.size, dtype=g.dtype).reshape(g.shape)), grads
        )

    return momentum(learning_rate, before=placed)


def tells_whether_it_is_traced(learning_rate):
    def told(grads, count):
        is_traced = any(isinstance(g, jax.core.Tracer) for g in jax.tree.leaves(grads))
        return skip_none(lambda g: g * 1.001 if is_traced else g, grads)

    return momentum(learning_rate, before=told)


def reads_numbers_in_init(learning_rate):
    def made(params):
        return jax.tree.map(lambda p: 0 * p.astype(wide(p)), params)

    return momentum(learning_rate, init=made)


def knows_no_empty_leaf(learning_rate):
    def scaled(grads, count):
        return skip_none(lambda g: g / (1 + jnp.max(jnp.abs(g))), grads)

    return momentum(learning_rate, before=scaled)


def knows_no_mask(learning_rate):
    def made(params):
        def slot(p):
            return jnp.zeros_like(p, wide(p))

        is_masked = functools.partial(
            lambda kind, x: isinstance(x, kind), optax.MaskedNode
        )
        return jax.tree.map(slot, params, is_leaf=is_masked)

    return momentum(learning_rate, init=made)


def knows_only_dicts(learning_rate):
    def update(grads, state, params=None):
        updates = {
            name: skip_none(lambda g: (-learning_rate * g).astype(g.dtype), grads[name])
            for name in grads
        }
        return updates, state

    def init(params):
        return {name: zeros(params[name]) for name in params}

    return optax.GradientTransformation(init, update)


@functools.lru_cache
def needs_a_number_to_hash(learning_rate):
    return momentum(learning_rate)


CARRY = {"state_is_stable", "scan_and_cond_carry_the_state"}
TRACED = {
    "injected_numbers_are_obeyed",
    "schedules_are_followed",
    "vmapped_numbers_equal_a_loop",
    "changed_numbers_compile_nothing",
}
BROKEN = {
    momentum: set(),
    state_starts_in_the_parameters_dtype: CARRY,
    state_grows: CARRY
    | {
        "steps_compile_once",
        "changed_numbers_compile_nothing",
        "optax_wrappers_change_nothing",
        "nnx_optimizer_makes_the_same_steps",
        "orbax_brings_it_back",
    },
    tells_whether_it_is_traced: {
        "jit_equals_eager",
        "float64_is_kept",
        "injected_numbers_are_obeyed",
        "schedules_are_followed",
        "vmapped_numbers_equal_a_loop",
        "shardings_are_kept",
        "pmap_equals_one_device",
        "optax_wrappers_change_nothing",
    },
    reads_numbers_in_init: {"init_from_shapes"},
    state_is_changed_in_place: {"is_pure", "optax_wrappers_change_nothing"},
    correction_is_in_the_gradients_dtype: {
        "bfloat16_costs_one_rounding",
        "float16_costs_one_rounding",
    },
    updates_leave_in_float32: {"updates_keep_their_dtype", "float64_is_kept"},
    float64_is_narrowed: {"float64_is_kept"},
    norm_is_of_all_leaves: {"leaves_are_on_their_own"},
    divides_by_the_norm: {
        "zero_gradients_give_finite_updates",
        "zero_parameters_give_finite_updates",
    },
    raises_at_nan: {"nonfinite_gradients_leave_the_state_whole"},
    knows_no_none: {"none_leaves_pass", "missing_gradients_pass"},
    knows_no_empty_tree: {"empty_trees_pass"},
    knows_no_empty_leaf: {"zero_size_leaves_pass"},
    knows_no_mask: {"masked_leaves_pass_unchanged"},
    knows_only_dicts: {
        "named_tuples_are_updated_alike",
        "dataclasses_are_updated_alike",
        "frozen_dicts_are_updated_alike",
        "equinox_modules_are_updated_alike",
        "nnx_optimizer_makes_the_same_steps",
        "tree_map_params_finds_the_slots",
    },
    knows_no_scalar: {"scalar_leaves_pass"},
    needs_jax_arrays: {"numpy_arrays_are_taken"},
    needs_a_python_number: TRACED,
    needs_a_number_to_hash: TRACED
    | {"arrays_serve_as_hyperparameters", "state_can_be_donated"},
    state_holds_the_parameters: {"state_can_be_donated"},
    state_holds_an_array_twice: {"state_can_be_donated"},
    state_lies_on_one_device: {"shardings_are_kept"},
    state_is_of_a_local_class: {"pickle_and_deepcopy_bring_it_back"},
    state_is_unknown_to_flax: {"flax_serialization_brings_it_back"},
    depends_on_the_place: {"permutations_pass_through", "scale_of_gradients_cancels"},
}
DECLARED = {
    norm_is_of_all_leaves: ["leafwise"],
    depends_on_the_place: ["permutation", "leafwise", "scale"],
    momentum: ["permutation", "leafwise"],
    divides_by_the_norm: ["scale"],
}


def subject(factory):
    return TransformationSubject(
        factory,
        {"learning_rate": 0.5},
        params=PARAMS,
        invariances=DECLARED.get(factory, ()),
        name=f"broken.{factory.__name__}",
    )
