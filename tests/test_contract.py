"""What holds for every transformation: rows from cases/, a column a test.

Nothing is skipped: a property that a row cannot have is selected by what the row's
signature offers, and a test checks that every public name has a row. The first row of
each function runs by default, its further settings in `make test-all`.
"""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from cases import (
    CASES,
    LINKS,
    OPTIMISERS,
    SECOND_ORDER,
    WRAPPERS,
    Case,
    random_tree,
    with_a_loss,
)
from jax.sharding import NamedSharding, PartitionSpec

import optix_tricks as ot
from optix_tricks import transforms

PARAMS = random_tree(0)
GRADS = [random_tree(seed) for seed in (1, 2, 3)]


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


# A few roundings of numbers of order one: a fused multiply-add rounds once, not twice.
ROUNDING = {"rtol": 3e-6, "atol": 5e-7}

every = pytest.mark.parametrize("case", **ids(CASES, variants=False))


def run(tx, params=PARAMS, grads=GRADS, state=None):
    """All updates of a few steps, and the last state. Parameters stay fixed."""
    state = tx.init(params) if state is None else state
    out = []
    for g in grads:
        updates, state = tx.update(g, state, params)
        out.append(updates)
    return out, state


def compiled(tx):
    return optax.GradientTransformationExtraArgs(tx.init, jax.jit(tx.update))


def assign(state, name, value):
    """Set a hyperparameter in the state, as a user changes a rate between steps."""
    return optax.tree.set(state, **{name: jnp.float32(value)})


def signature_of(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)


def is_masked(x):
    return isinstance(x, optax.MaskedNode)


def cast(tree, dtype):
    return jax.tree.map(lambda x: x.astype(dtype), tree)


@every
def test_is_an_optax_transformation_that_takes_extra_arguments(case: Case):
    tx = case.build()
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    tx.update(GRADS[0], tx.init(PARAMS), PARAMS, value=1.0, key=jax.random.key(0))


@pytest.mark.parametrize("case", **ids(LINKS, variants=False))
def test_state_is_a_named_tuple_of_count_hyperparameters_and_trees(case: Case):
    _, state = run(case.build())
    assert state._fields[:2] == ("count", "hyperparams")
    assert state.count == len(GRADS)
    assert state.count.dtype == jnp.int32
    assert {case.stored(name) for name in case.given} <= state.hyperparams.keys()
    for name in case.slots:
        chex.assert_trees_all_equal_shapes(getattr(state, name), PARAMS)


@pytest.mark.parametrize("case", **ids([case for case in CASES if case.twin]))
def test_matches_its_twin_in_optax(case: Case):
    ours, _ = run(case.build(**case.twin_at))
    theirs, _ = run(case.twin())
    chex.assert_trees_all_close(ours, theirs, **ROUNDING)


@pytest.mark.parametrize("case", **ids([case for case in CASES if case.neutral]))
def test_neutral_setting_is_the_identity_or_what_is_wrapped(case: Case):
    updates, _ = run(case.build(**case.neutral))
    want, _ = run(case.inner)
    chex.assert_trees_all_equal(updates, want)


@pytest.mark.parametrize("case", **ids(LINKS + OPTIMISERS + WRAPPERS))
def test_has_a_neutral_setting(case: Case):
    assert case.twin is not None or case.neutral is not None


@every
def test_jit_equals_eager(case: Case):
    tx = case.build()
    eager, _ = run(tx)
    jitted, _ = run(compiled(tx))
    chex.assert_trees_all_close(eager, jitted, **ROUNDING)


@every
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_state_is_stable_through_every_way_to_make_it(case: Case, dtype):
    with jax.enable_x64(dtype == "float64"):
        params, grads = cast(PARAMS, dtype), cast(GRADS[0], dtype)
        tx = case.build()
        state = tx.init(params)
        want = signature_of(state)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
        assert signature_of(tx.init(shapes)) == want
        assert signature_of(jax.eval_shape(tx.init, params)) == want

        def step(state, _):
            updates, state = tx.update(grads, state, params)
            return state, updates

        def scanned(state):
            return jax.lax.scan(step, state, None, length=2)[0]

        def kept(state):
            return jax.lax.cond(True, lambda s: step(s, None)[0], lambda s: s, state)

        assert signature_of(step(state, None)[0]) == want
        # Traced, not run: a scan or cond whose carry changes its type raises then.
        assert signature_of(jax.eval_shape(scanned, state)) == want
        assert signature_of(jax.eval_shape(kept, state)) == want


@every
@pytest.mark.parametrize("of_grads", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("of_params", ["float32", "bfloat16"])
def test_updates_leave_as_they_came_and_slots_are_float32(case, of_grads, of_params):
    tx = case.build()
    updates, state = run(tx, cast(PARAMS, of_params), [cast(GRADS[0], of_grads)])
    want = jnp.dtype(case.updates_dtype or of_grads)
    assert {u.dtype for u in jax.tree.leaves(updates)} == {want}
    for name in case.slots:
        slot = optax.tree.get(state, name)
        assert {x.dtype for x in jax.tree.leaves(slot)} == {jnp.dtype("float32")}


@every
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_costs_one_rounding_of_the_update(case: Case, dtype):
    low = [cast(g, dtype) for g in GRADS]
    wide = [cast(g, "float32") for g in low]
    ours, _ = run(case.build(), grads=low)
    exact, _ = run(case.build(), grads=wide)
    leaves_in = case.updates_dtype or dtype
    chex.assert_trees_all_equal(ours, [cast(u, leaves_in) for u in exact])


@every
def test_float64_is_computed_in_float64(case: Case):
    with jax.enable_x64(True):
        params = cast(PARAMS, "float64")
        wide, _ = run(compiled(case.build()), params, [cast(g, "float64") for g in GRADS])
        narrow, _ = run(case.build())
        leaves = jax.tree.leaves(wide)
        assert {x.dtype for x in leaves} == {jnp.dtype("float64")}
        # A secant's step divides by a difference of slopes, here a sixtieth of them.
        times = 10 if case.name == "nonlinear_cg" else 1
        tolerance = {name: times * x for name, x in ROUNDING.items()}
        chex.assert_trees_all_close(cast(wide, "float32"), narrow, **tolerance)


@every
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_zero_gradients_give_finite_updates(case: Case, dtype):
    zeros = jax.tree.map(jnp.zeros_like, cast(GRADS[0], dtype))
    updates, _ = run(case.build(), cast(PARAMS, dtype), [zeros, zeros])
    chex.assert_tree_all_finite(updates)


@every
def test_number_array_schedule_and_numpy_number_are_the_same(case: Case):
    plain, _ = run(case.build())
    for wrap in (jnp.float32, np.float64, lambda x: lambda count: x):
        wrapped = {name: wrap(x) for name, x in case.given.items()}
        other, _ = run(case.build(**wrapped))
        chex.assert_trees_all_close(other, plain, **ROUNDING)


@every
def test_every_hyperparameter_can_follow_a_schedule(case: Case):
    for name, x in case.given.items():
        scheduled, state = run(case.build(**{name: lambda count, x=x: x / (1 + count)}))
        # Link by link, the state after t steps continued with a constant is the same.
        state_then = None
        for t, g in enumerate(GRADS):
            tx = case.build(**{name: x / (1 + t)})
            if state_then is None:
                state_then = tx.init(PARAMS)
            state_then = assign(state_then, case.stored(name), x / (1 + t))
            updates, state_then = tx.update(g, state_then, PARAMS)
            chex.assert_trees_all_close(updates, scheduled[t], **ROUNDING)
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
    jax.jit(tx.update).lower(GRADS[0], state, PARAMS)
    assert len(calls) == len(case.given)


@every
def test_changing_a_hyperparameter_does_not_compile_again(case: Case):
    tx = case.build()
    traces = []

    @jax.jit
    def update(grads, state):
        traces.append(1)
        return tx.update(grads, state, PARAMS)

    _, state = update(GRADS[0], tx.init(PARAMS))
    for name, x in case.given.items():
        changed = assign(state, case.stored(name), x / 2)
        ours, _ = update(GRADS[1], changed)
        want, _ = case.build(**{name: x / 2}).update(GRADS[1], changed, PARAMS)
        chex.assert_trees_all_close(ours, want, **ROUNDING)
    assert len(traces) == 1


@every
def test_vmap_over_the_hyperparameters_equals_a_loop(case: Case):
    names = list(case.given)
    if not names:
        return
    # Each in turn is halved and quartered, the others stay.
    shrink = jnp.concatenate([1 - share * jnp.eye(len(names)) for share in (0.5, 0.75)])
    settings = shrink * jnp.array([list(case.given.values())])

    @jax.jit
    def train(values):
        return run(case.build(**dict(zip(names, values, strict=True))))

    together, state = jax.jit(jax.vmap(train))(settings)
    alone = [train(values) for values in settings]
    want = jax.tree.map(lambda *xs: jnp.stack(xs), *alone)
    # A centered variance is a difference: roundings of its terms are amplified.
    times = 10 if "stddev" in case.name or "centered" in case.name else 1
    tolerance = {name: times * x for name, x in ROUNDING.items()}
    chex.assert_trees_all_close(together, want[0], **tolerance)
    for name, values in zip(names, settings.T, strict=True):
        assert jnp.allclose(optax.tree.get(state, case.stored(name)), values)


@every
@pytest.mark.parametrize("compile_it", [False, True])
def test_inject_hyperparams_reaches_every_hyperparameter(case: Case, compile_it):
    static = [*case.options, "mask", "nesterov", "flip_sign", "debias", "eps_in_sqrt"]
    static += ["bias_correction", "centered", "initial_scale", "state_dtype"]
    static = [name for name in static if case.takes(name)]
    make = optax.inject_hyperparams(case.make, static_args=static)
    tx = with_a_loss(make(**case.options, **case.given))
    update = jax.jit(tx.update) if compile_it else tx.update
    state = tx.init(PARAMS)
    for name, x in case.given.items():
        state.hyperparams[name] = jnp.float32(x / 2)
    updates, _ = update(GRADS[0], state, PARAMS)
    want, _ = run(
        case.build(**{n: x / 2 for n, x in case.given.items()}), grads=GRADS[:1]
    )
    chex.assert_trees_all_close(updates, want[0], **ROUNDING)


@pytest.mark.parametrize("case", **ids(LINKS, variants=False))
def test_masked_leaves_pass_unchanged_and_have_no_slots(case: Case):
    def only_kernels(tree):
        return jax.tree.map(lambda x: x.ndim > 1, tree)

    masks = [only_kernels, only_kernels(PARAMS)]
    for mask in masks:
        updates, state = run(case.build(mask=mask))
        wrapped, _ = run(optax.masked(case.build(mask=None), only_kernels))
        chex.assert_trees_all_close(updates, wrapped, **ROUNDING)
        for u, g in zip(updates, GRADS, strict=True):
            chex.assert_trees_all_equal(u["norm"], g["norm"])
        for name in case.slots:
            slot = getattr(state, name)
            assert slot["norm"]["scale"] == optax.MaskedNode()
            assert slot["conv"]["kernel"].shape == (3, 3, 2, 8)


@every
def test_packed_form_follows_the_tree(case: Case):
    tx = case.build()
    packed = ot.pack(PARAMS)
    updates, _ = run(compiled(tx), packed, [ot.pack_like(g, packed) for g in GRADS])
    want, _ = run(tx)
    chex.assert_trees_all_close([ot.unpack(u) for u in updates], want, **ROUNDING)


@pytest.mark.parametrize("case", **ids(LINKS + OPTIMISERS, variants=False))
@pytest.mark.parametrize("state_dtype", ["bfloat16", "float32"])
def test_state_dtype_is_kept_and_follows_float32(case: Case, state_dtype):
    if not case.takes("state_dtype"):
        assert not case.slots
        return
    updates, state = run(compiled(case.build(state_dtype=state_dtype)))
    for name in case.slots:
        slot = optax.tree.get(state, name)
        assert {x.dtype for x in jax.tree.leaves(slot)} == {jnp.dtype(state_dtype)}
    want, _ = run(case.build())
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
    kernels = jax.random.normal(jax.random.key(0), (3, 64, 72))
    grads = [{"kernel": kernel, "bias": jnp.ones(72)} for kernel in kernels]
    tx = compiled(case.build(state_dtype="int8"))
    updates, state = run(tx, big, grads)
    assert signature_of(state) == signature_of(tx.init(big))
    for name in case.slots:
        slot = optax.tree.get(state, name)
        small = jax.tree.leaves(slot.codes["bias"])  # kept whole, or in another slot
        assert all(x.dtype == jnp.float32 for x in small)
        assert slot.codes["kernel"].dtype == jnp.int8
        bytes_kept = slot.codes["kernel"].nbytes + slot.scales["kernel"].nbytes
        assert bytes_kept <= 1.1 * big["kernel"].size
    want, _ = run(compiled(case.build()), big, grads)
    # A centered variance is a difference: rounding of its terms is amplified.
    loose = 0.35 if "stddev" in case.name or "centered" in case.name else 0.1
    for u, w in zip(updates, want, strict=True):
        difference = jax.tree.map(lambda a, b: a - b, u, w)
        assert optax.tree.norm(difference) <= loose * optax.tree.norm(w)


@every
def test_report_is_a_flat_dict_of_scalars_under_jit(case: Case):
    tx = case.build()

    @jax.jit
    def step(state):
        _, state = tx.update(GRADS[0], state, PARAMS)
        return ot.report(state)

    said = step(tx.init(PARAMS))
    assert all(x.shape == () for x in said.values())
    for name, x in case.given.items():
        assert said[case.stored(name)] == pytest.approx(x)


@every
def test_shardings_of_parameters_carry_over_to_slots(case: Case):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def place(x):
        spec = (
            PartitionSpec(*([None] * (x.ndim - 1)), "data") if x.ndim else PartitionSpec()
        )
        return jax.device_put(x, NamedSharding(mesh, spec))

    params, grads = jax.tree.map(place, PARAMS), [jax.tree.map(place, g) for g in GRADS]
    tx = case.build()
    state = tx.init(params)
    for name in case.slots:
        slot = optax.tree.get(state, name)
        kept = jax.tree.leaves(slot, is_leaf=is_masked)
        for s, p in zip(kept, jax.tree.leaves(params), strict=True):
            assert is_masked(s) or s.sharding == p.sharding
    update = jax.jit(tx.update)
    for g in grads:
        updates, state = update(g, state, params)
        jax.block_until_ready(updates)
    want, _ = run(tx)
    chex.assert_trees_all_close(updates, want[-1], **ROUNDING)


@every
def test_state_can_be_donated(case: Case):
    tx = case.build()
    update = jax.jit(tx.update, donate_argnums=1)
    _, state = update(GRADS[0], tx.init(PARAMS), PARAMS)
    update(GRADS[1], state, PARAMS)


@every
def test_tree_map_params_finds_the_slots(case: Case):
    tx = case.build()
    state = tx.init(PARAMS)
    marked = optax.tree.map_params(
        tx, lambda x: jnp.full_like(x, 7), state, is_leaf=lambda x: x is None
    )
    for name in case.slots:
        assert all((x == 7).all() for x in jax.tree.leaves(optax.tree.get(marked, name)))


@every
def test_composes_with_optax_wrappers(case: Case):
    tx = case.build()
    want, _ = run(tx)
    labels = jax.tree.map(lambda _: "all", PARAMS)
    for wrapped in (
        optax.chain(optax.identity(), tx),
        optax.partition({"all": tx}, labels),
        optax.apply_if_finite(tx, 3),
    ):
        chex.assert_trees_all_close(run(compiled(wrapped))[0], want, **ROUNDING)
    updates, _ = run(compiled(optax.MultiSteps(tx, 2)), grads=[GRADS[0], GRADS[0]])
    chex.assert_trees_all_close(updates[1], want[0], **ROUNDING)


@every
def test_odd_trees_pass(case: Case):
    tx = case.build()
    assert run(tx, {}, [{}])[0] == [{}]
    odd = {"none": None, "empty": jnp.zeros((0, 3)), "scalar": jnp.float32(2.0)}
    updates, state = run(tx, odd, [odd, odd])
    assert updates[1]["none"] is None
    assert updates[1]["empty"].shape == (0, 3)
    assert jnp.isfinite(updates[1]["scalar"])
    jax.jit(tx.update)(odd, state, odd)
    missing = odd | {"scalar": None}
    updates, _ = tx.update(missing, tx.init(odd), odd)
    assert updates["scalar"] is None


@every
def test_numpy_arrays_are_taken_as_jax_arrays(case: Case):
    tx = case.build()
    want, _ = run(tx)
    ours, _ = run(tx, *jax.tree.map(np.asarray, (PARAMS, GRADS)))
    chex.assert_trees_all_close(ours, want, **ROUNDING)


@every
@pytest.mark.parametrize("dtype", ["complex64", "int32"])
def test_other_dtypes_are_refused_by_name(case: Case, dtype):
    tx = case.build()
    with pytest.raises(ValueError, match=rf"{dtype} at 'a/b'.*optax.masked"):
        tx.init({"a": {"b": jnp.ones((3, 2), dtype)}})  # in no default mask


@every
def test_checkpoint_round_trip(case: Case, tmp_path):
    tx = case.build()
    _, state = run(tx)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", tx.init(PARAMS))
    chex.assert_trees_all_equal(restored, state)
    assert type(restored) is type(state)


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


@every
def test_arrays_given_as_hyperparameters_outlive_a_donated_state(case: Case):
    given = {name: jnp.float32(x) for name, x in case.given.items()}
    tx = case.build(**given)
    update = jax.jit(tx.update, donate_argnums=1)
    _, state = update(GRADS[0], tx.init(PARAMS), PARAMS)
    update(GRADS[1], state, PARAMS)
    assert {name: float(x) for name, x in given.items()} == pytest.approx(case.given)


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
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[2:])
