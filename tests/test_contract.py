"""What holds for every transformation: rows from cases/, a column a test.

The columns are the public ones of `optix_tricks.testing`; what only we promise stands
below them. Nothing is skipped: a column that a row cannot have says why, out of a few
reasons, and a test checks that each public name has a row. The first row of each function
runs by default, its further settings in `make test-all`.
"""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import (
    CASES,
    LINKS,
    OPTIMISERS,
    SECOND_ORDER,
    WRAPPERS,
    Case,
    subject,
)

import optix_tricks as ot
from optix_tricks import testing, transforms
from optix_tricks.testing._compare import ATOL, RTOL
from optix_tricks.testing._slots import slots

PARAMS, GRADS = testing.example()


def ids(cases, *, variants=True):
    """Rows by name; the second and later rows of one function are slow tests."""
    first = {case.public: case for case in reversed(cases)}
    return {
        "argvalues": [
            case
            if variants or case is first[case.public]
            else pytest.param(case, marks=pytest.mark.slow)
            for case in cases
        ],
        "ids": [case.name for case in cases],
    }


ROUNDING = {"rtol": RTOL, "atol": ATOL}

every = pytest.mark.parametrize("case", **ids(CASES, variants=False))

# They have rows and trees of their own in test_contract_nnx.py and _saved.py.
ELSEWHERE = {
    "nnx_optimizer_makes_the_same_steps",
    "flax_serialization_brings_it_back",
    "pickle_and_deepcopy_bring_it_back",
}
# Why a row may have no such column. What is installed and the devices are no excuse.
EXCUSES = {
    "no hyperparameters were given",
    "the state keeps nothing for each parameter",
    "the state holds no arrays",
    "'scale' is not declared",
    "'permutation' is not declared",
    "'leafwise' is not declared",
}


def of_every_row(column):
    @every
    def test(case: Case):
        reason = testing.assert_column(subject(case.name), column)
        assert reason is None or reason in EXCUSES

    return test


for name, column in testing.TRANSFORMATION_COLUMNS.items():
    if name not in ELSEWHERE:
        globals()[f"test_{name}"] = of_every_row(column)


run, cast, signature = testing.run, testing.cast, testing.signature


def assign(state, name, value):
    """Set a hyperparameter in the state, as a user changes a rate between steps."""
    return optax.tree.set(state, **{name: jnp.float32(value)})


@every
def test_is_an_optax_transformation_that_takes_extra_arguments(case: Case):
    tx = case.build()
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    tx.update(GRADS[0], tx.init(PARAMS), PARAMS, value=1.0, key=jax.random.key(0))


@pytest.mark.parametrize("case", **ids(LINKS, variants=False))
def test_state_is_a_named_tuple_of_count_hyperparameters_and_trees(case: Case):
    _, state = subject(case.name).steps
    assert state._fields[:2] == ("count", "hyperparams")
    assert state.count == len(GRADS)
    assert state.count.dtype == jnp.int32
    assert {case.stored(name) for name in case.given} <= state.hyperparams.keys()
    for name in case.slots:
        chex.assert_trees_all_equal_shapes(getattr(state, name), PARAMS)


@pytest.mark.parametrize("case", **ids([case for case in CASES if case.twin]))
def test_matches_its_twin_in_optax(case: Case):
    ours, _ = run(case.build(**case.twin_at), PARAMS, GRADS)
    theirs, _ = run(case.twin(), PARAMS, GRADS)
    chex.assert_trees_all_close(ours, theirs, **ROUNDING)


@pytest.mark.parametrize("case", **ids([case for case in CASES if case.neutral]))
def test_neutral_setting_is_the_identity_or_what_is_wrapped(case: Case):
    updates, _ = run(case.build(**case.neutral), PARAMS, GRADS)
    want, _ = run(case.inner, PARAMS, GRADS)
    chex.assert_trees_all_equal(updates, want)


@pytest.mark.parametrize("case", **ids(LINKS + OPTIMISERS + WRAPPERS))
def test_has_a_neutral_setting(case: Case):
    assert case.twin is not None or case.neutral is not None


@every
def test_updates_leave_as_they_came_and_slots_are_float32(case: Case):
    tx = case.build()
    for of_params in ("float32", "bfloat16"):
        params = cast(PARAMS, of_params)
        for of_grads in ("float32", "bfloat16", "float16"):
            grads = cast(GRADS[0], of_grads)
            updates, state = jax.eval_shape(tx.update, grads, tx.init(params), params)
            want = jnp.dtype(case.updates_dtype or of_grads)
            assert {u.dtype for u in jax.tree.leaves(updates)} == {want}
            for name in case.slots:
                slot = optax.tree.get(state, name)
                assert {x.dtype for x in jax.tree.leaves(slot)} == {jnp.dtype("float32")}


@every
def test_low_precision_is_float32s_update_rounded_once_to_the_bit(case: Case):
    tx = case.build()
    for dtype in ("bfloat16", "float16"):
        low = cast(GRADS, dtype)
        ours, _ = run(tx, PARAMS, low)
        exact, _ = run(tx, PARAMS, cast(low, "float32"))
        chex.assert_trees_all_equal(ours, cast(exact, case.updates_dtype or dtype))


@every
def test_a_schedule_in_place_of_a_number_is_followed(case: Case):
    """And one that is constant is the number."""
    if not case.given:
        return
    constant = {name: lambda count, x=x: x for name, x in case.given.items()}
    plain, _ = subject(case.name).steps
    other, _ = run(case.build(**constant), PARAMS, GRADS)
    chex.assert_trees_all_close(other, plain, **ROUNDING)

    falling = {name: lambda count, x=x: x / (1 + count) for name, x in case.given.items()}
    scheduled, state = run(case.build(**falling), PARAMS, GRADS)
    # Link by link, the state after t steps continued with a constant is the same.
    state_then = None
    for t, g in enumerate(GRADS):
        now = {name: x / (1 + t) for name, x in case.given.items()}
        tx = case.build(**now)
        state_then = tx.init(PARAMS) if state_then is None else state_then
        for name, x in now.items():
            state_then = assign(state_then, case.stored(name), x)
        updates, state_then = tx.update(g, state_then, PARAMS)
        chex.assert_trees_all_close(updates, scheduled[t], **ROUNDING)
    for name, x in case.given.items():
        stored = optax.tree.get(state, case.stored(name))
        assert stored == pytest.approx(x / len(GRADS))


@every
def test_a_schedule_is_read_once_a_step_whatever_the_number_of_leaves(case: Case):
    calls = []

    def counting(x):
        return lambda count: calls.append(count) or x

    tx = case.build(**{name: counting(x) for name, x in case.given.items()})
    state = tx.init(PARAMS)
    calls.clear()
    jax.eval_shape(tx.update, GRADS[0], state, PARAMS)
    assert len(calls) == len(case.given)


@every
def test_a_number_changed_in_the_state_is_obeyed_and_compiles_nothing(case: Case):
    row = subject(case.name)
    traces = []

    def update(grads, state):
        traces.append(1)
        return row.tx.update(grads, state, PARAMS)

    jitted = jax.jit(update)
    state = row.tx.init(PARAMS)
    jitted.trace(GRADS[0], state)  # traced, not compiled
    _, state = row.compiled.update(GRADS[0], state, PARAMS)
    for name, x in case.given.items():
        changed = assign(state, case.stored(name), x / 2)
        jitted.trace(GRADS[1], changed)
        ours, _ = row.compiled.update(GRADS[1], changed, PARAMS)
        want, _ = case.build(**{name: x / 2}).update(GRADS[1], changed, PARAMS)
        chex.assert_trees_all_close(ours, want, **ROUNDING)
    assert len(traces) == 1


@every
def test_an_array_is_taken_as_given_and_said_by_the_state(case: Case):
    arrays = {name: jnp.float32(x / 2) for name, x in case.given.items()}
    _, state = run(case.build(**arrays), PARAMS, GRADS[:1])
    for name, x in arrays.items():
        assert optax.tree.get(state, case.stored(name)) == x


@pytest.mark.parametrize("case", **ids(LINKS, variants=False))
def test_its_own_mask_is_that_of_optax_and_leaves_no_slots(case: Case):
    def only_kernels(tree):
        return jax.tree.map(lambda x: x.ndim > 1, tree)

    masks = [only_kernels, only_kernels(PARAMS)]
    for mask in masks:
        updates, state = run(case.build(mask=mask), PARAMS, GRADS)
        wrapped, _ = run(optax.masked(case.build(mask=None), only_kernels), PARAMS, GRADS)
        chex.assert_trees_all_close(updates, wrapped, **ROUNDING)
        for u, g in zip(updates, GRADS, strict=True):
            chex.assert_trees_all_equal(u["norm"], g["norm"])
        for name in case.slots:
            slot = getattr(state, name)
            assert slot["norm"]["scale"] == optax.MaskedNode()
            assert slot["conv"]["kernel"].shape == (3, 3, 2, 8)


@every
def test_packed_form_follows_the_tree(case: Case):
    row, packed = subject(case.name), ot.pack(PARAMS)
    grads = [ot.pack_like(g, packed) for g in GRADS]
    updates, _ = run(row.compiled, packed, grads)
    want, _ = row.steps
    near = row.tolerance("packed_form_follows_the_tree")
    chex.assert_trees_all_close([ot.unpack(u) for u in updates], want, **near)


@pytest.mark.parametrize("case", **ids(LINKS + OPTIMISERS, variants=False))
@pytest.mark.parametrize("state_dtype", ["bfloat16", "float32"])
def test_state_dtype_is_kept_and_follows_float32(case: Case, state_dtype):
    if not case.takes("state_dtype"):
        assert not case.slots
        return
    tx = testing.compiled(case.build(state_dtype=state_dtype))
    updates, state = run(tx, PARAMS, GRADS)
    for name in case.slots:
        slot = optax.tree.get(state, name)
        assert {x.dtype for x in jax.tree.leaves(slot)} == {jnp.dtype(state_dtype)}
    want, _ = subject(case.name).steps
    # A centered variance is a difference: rounding of its terms is amplified.
    loose = 0.35 if "stddev" in case.name or "centered" in case.name else 0.04
    for u, w in zip(updates, want, strict=True):
        difference = jax.tree.map(lambda a, b: a - b, u, w)
        assert optax.tree.norm(difference) <= loose * optax.tree.norm(w)


@pytest.mark.parametrize("case", **ids(LINKS + OPTIMISERS, variants=False))
def test_int8_slots_take_a_byte_and_follow_float32(case: Case):
    if not case.takes("state_dtype"):
        assert not case.slots
        return
    big = {"kernel": jnp.ones((64, 72)), "bias": jnp.ones(72)}
    kernels = np.random.default_rng(0).normal(size=(3, 64, 72)).astype(np.float32)
    grads = [{"kernel": jnp.asarray(x), "bias": jnp.ones(72)} for x in kernels]
    tx = testing.compiled(case.build(state_dtype="int8"))
    updates, state = run(tx, big, grads)
    assert signature(state) == signature(tx.init(big))
    for name in case.slots:
        slot = optax.tree.get(state, name)
        small = jax.tree.leaves(slot.codes["bias"])  # kept whole, or in another slot
        assert all(x.dtype == jnp.float32 for x in small)
        assert slot.codes["kernel"].dtype == jnp.int8
        bytes_kept = slot.codes["kernel"].nbytes + slot.scales["kernel"].nbytes
        assert bytes_kept <= 1.1 * big["kernel"].size
    want, _ = run(case.build(), big, grads)
    # A centered variance is a difference: rounding of its terms is amplified.
    loose = 0.35 if "stddev" in case.name or "centered" in case.name else 0.1
    for u, w in zip(updates, want, strict=True):
        difference = jax.tree.map(lambda a, b: a - b, u, w)
        assert optax.tree.norm(difference) <= loose * optax.tree.norm(w)


@every
def test_report_is_a_flat_dict_of_scalars_under_jit(case: Case):
    _, state = subject(case.name).compiled_steps
    said = jax.jit(ot.report)(state)
    assert all(x.shape == () for x in said.values())
    for name, x in case.given.items():
        assert said[case.stored(name)] == pytest.approx(x)


@every
def test_slots_are_found_by_the_paths_of_the_parameters(case: Case):
    state = subject(case.name).tx.init(PARAMS)
    found = [name for name, *_ in slots(state, PARAMS)]
    for name in case.slots:
        arrays = [x for x in jax.tree.leaves(optax.tree.get(state, name)) if x.ndim]
        assert sum(f".{name}[" in path for path in found) == len(arrays) > 0


@every
@pytest.mark.parametrize("dtype", ["complex64", "int32"])
def test_other_dtypes_are_refused_by_name(case: Case, dtype):
    tx = case.build()
    with pytest.raises(ValueError, match=rf"{dtype} at 'a/b'.*optax.masked"):
        tx.init({"a": {"b": jnp.ones((3, 2), dtype)}})  # in no default mask


@pytest.mark.parametrize("case", **ids(OPTIMISERS))
def test_one_step_lowers_a_quadratic(case: Case):
    def loss(params):
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(params))

    tx = case.build(learning_rate=0.01)
    updates, _ = tx.update(jax.grad(loss)(PARAMS), tx.init(PARAMS), PARAMS)
    assert loss(optax.apply_updates(PARAMS, updates)) < loss(PARAMS)


@pytest.mark.parametrize("case", **ids(WRAPPERS + SECOND_ORDER))
def test_some_steps_lower_a_quadratic(case: Case):
    def loss(params):
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(params)) / 2

    tx = case.build()

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        extra = {"value": value, "grad": grads, "value_fn": loss}
        extra["grad_fn"] = jax.grad(loss)
        updates, state = tx.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(4):
        params, state = step(params, state)
    assert loss(params) < loss(PARAMS)


def test_a_mask_taken_for_a_schedule_is_refused():
    tx = optax.inject_hyperparams(ot.lars)(learning_rate=1.0)
    with pytest.raises(ValueError, match=r"name `mask` in static_args"):
        tx.update(GRADS[0], tx.init(PARAMS), PARAMS)


def test_every_public_transformation_has_a_row():
    makers = {
        name
        for name in transforms.__all__
        if "GradientTransformation" in str(inspect.signature(getattr(ot, name)))
    }
    assert makers == {case.public for case in CASES}


@pytest.mark.parametrize("case", **ids(LINKS, variants=False))
def test_every_link_offers_a_mask_and_names_are_keywords(case: Case):
    assert case.takes("mask")
    parameters = list(inspect.signature(case.make).parameters.values())
    by_place = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    if len(by_place) > 2:  # as Optax takes them
        rooms = (room for room in (optax, optax.contrib) if hasattr(room, case.public))
        theirs = getattr(next(rooms), case.public)
        assert by_place == [*inspect.signature(theirs).parameters][: len(by_place)]
