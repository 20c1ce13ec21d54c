"""What holds for every method that evaluates the loss itself."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding, PartitionSpec

import optix_tricks as ot

METHODS = {
    "newton_cg": ot.newton_cg,
    "nonlinear_cg": ot.nonlinear_cg,
    "bfgs": ot.bfgs,
    "lbfgs": ot.lbfgs,
    "escape_saddle": lambda: ot.escape_saddle(optax.sgd(0.1), jax.random.key(0)),
}
every = pytest.mark.parametrize("method", METHODS)


def tree(dtype="float32", **more):
    kernel = jnp.linspace(-1, 1, 6).reshape(2, 3)
    leaves = {"layer": [kernel, jnp.float32(0.5)], "bias": jnp.array([0.25, -2.0])}
    odd = {"none": None, "empty": jnp.zeros((0, 3))}
    return jax.tree.map(lambda x: x.astype(dtype), leaves | odd) | more


def loss(w):
    """Not quadratic, minimum at 1; computed in the parameters' own dtype."""
    return sum(jnp.sum(jnp.cosh(x - 1)) for x in jax.tree.leaves(w))


def update(tx, w, state, **more):
    value, grad = jax.value_and_grad(loss)(w)
    return tx.update(grad, state, w, value=value, grad=grad, value_fn=loss, **more)


def signature_of(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)


@every
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_state_is_stable_and_updates_leave_as_they_came(method, dtype):
    with jax.enable_x64(dtype == "float64"):
        tx, w = METHODS[method](), tree(dtype)
        state = tx.init(w)
        want = signature_of(state)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), w)
        assert signature_of(tx.init(shapes)) == want
        assert signature_of(jax.eval_shape(tx.init, w)) == want

        def step(state, _):
            updates, state = update(tx, w, state)
            return state, updates

        after, updates = jax.eval_shape(step, state, None)
        assert signature_of(after) == want
        jax.eval_shape(lambda s: jax.lax.scan(step, s, None, 2), state)
        assert signature_of(updates) == signature_of(w)
        vectors = [x for x in jax.tree.leaves(state) if x.ndim]
        wide = "float64" if dtype == "float64" else "float32"
        assert {x.dtype.name for x in vectors} <= {wide}
        assert all(x.shape == () for x in ot.report(state).values())


@every
def test_slots_take_the_shardings_and_the_state_can_be_donated(method):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    w = jax.device_put(jnp.linspace(-1, 2, 16), spread)
    tx = METHODS[method]()
    state = tx.init(w)
    slots = [x for x in jax.tree.leaves(state) if x.shape == w.shape]
    assert all(x.sharding == spread for x in slots)
    step = jax.jit(lambda w, state: update(tx, w, state), donate_argnums=1)
    updates, state = step(w, state)
    assert updates.sharding == spread
    want, _ = step(jax.device_put(w, jax.devices()[0]), tx.init(jnp.zeros(16)))
    np.testing.assert_allclose(updates, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("nonlinear_cg", ["updates", "direction", "grad"]),
        ("bfgs", ["params", "updates", "grad"]),
        ("lbfgs", ["params", "updates", "grad"]),
    ],
)
def test_tree_map_params_finds_the_slots(method, names):
    tx, w = METHODS[method](), tree()
    marked = optax.tree.map_params(tx, lambda x: jnp.full_like(x, 7), tx.init(w))
    for name in names:
        slot = optax.tree.get(marked, name)
        assert all((x == 7).all() for x in jax.tree.leaves(slot))
        chex.assert_trees_all_equal_shapes(slot, w)
    assert optax.tree.get(marked, "value") != 7


@every
def test_it_runs_down_trees_of_16_bits(method):
    """A whole run in bfloat16 gets as low as rounding of the parameters lets it."""
    tx, w = METHODS[method](), tree("bfloat16")

    def step(carry, _):
        w, state = carry
        updates, state = update(tx, w, state)
        return (optax.apply_updates(w, updates), state), None

    (w, _), _ = jax.jit(lambda w: jax.lax.scan(step, (w, tx.init(w)), None, 30))(w)
    off = max(float(jnp.abs(x - 1).max()) for x in jax.tree.leaves(w) if x.size)
    assert off < 0.15


@every
def test_a_tree_goes_the_way_of_its_vector_alone_and_in_a_batch(method):
    tx, w = METHODS[method](), tree()
    flat, unravel = ravel_pytree(w)

    def go(w):
        return update(tx, w, tx.init(w))[0]

    batch = jax.jit(jax.vmap(go))(jnp.stack([flat, -flat]))
    chex.assert_trees_all_close(unravel(batch[0]), jax.jit(go)(w), rtol=1e-4, atol=1e-5)


@every
def test_value_fn_gets_the_extra_arguments_that_it_names(method):
    tx, seen = METHODS[method](), set()

    def shifted(w, center, scale=1.0):
        seen.add((center, scale))
        return scale * jnp.sum(jnp.cosh(w - center))

    w = jnp.ones(3)
    given = {"value": 1.0, "grad": w, "value_fn": shifted, "center": 1.5, "unknown": 1}
    jax.eval_shape(lambda state: tx.update(w, state, w, **given), tx.init(w))
    assert seen == {(1.5, 1.0)}


@every
@pytest.mark.parametrize("missing", ["params", "value", "grad", "value_fn"])
def test_what_is_missing_is_named_with_the_way_out(method, missing):
    tx, w = METHODS[method](), jnp.ones(3)
    given = {"params": w, "value": 1.0, "grad": w, "value_fn": loss}
    del given[missing]
    with pytest.raises(
        ValueError, match=rf"{method} evaluates .* needs {missing}: call .*value_fn=value"
    ):
        tx.update(w, tx.init(w), **given)


@every
@pytest.mark.parametrize("dtype", ["complex64", "int32"])
def test_other_dtypes_are_refused_by_name(method, dtype):
    with pytest.raises(ValueError, match=f"{dtype} at 'a/b'"):
        METHODS[method]().init({"a": {"b": jnp.ones(3, dtype)}})


@pytest.mark.parametrize("make", [ot.nonlinear_cg, ot.bfgs])
def test_a_failed_line_search_that_ends_higher_takes_no_step(make):
    """One trial, up a step that no slope foretells."""
    one_trial = optax.scale_by_zoom_linesearch(1, initial_guess_strategy="one")
    tx = make(linesearch=one_trial)
    w = jnp.array([0.1, 0.2])

    def hole(at):
        return jnp.sum(at**2) + jnp.where((at == w).all(), 0.0, 1.0)

    @jax.jit
    def step(state):
        given = {"value": hole(w), "grad": jax.grad(hole)(w), "value_fn": hole}
        return tx.update(given["grad"], state, w, **given)

    updates, state = step(tx.init(w))
    assert (updates == 0).all()
    assert ot.report(state)["decrease_error"] > 0
    assert optax.tree.get(state, "value") == jnp.inf


@pytest.mark.parametrize("method", ["newton_cg", "nonlinear_cg", "bfgs", "lbfgs"])
def test_it_stays_in_a_minimum_that_it_has_reached_in_one_step(method):
    tx = METHODS[method]()

    def step(carry, _):
        w, state = carry
        value, grad = jax.value_and_grad(bowl)(w)
        updates, state = tx.update(grad, state, w, value=value, grad=grad, value_fn=bowl)
        return (optax.apply_updates(w, updates), state), value

    def bowl(w):
        return jnp.sum((w - 0.3) ** 2) / 2

    w = jax.random.normal(jax.random.key(1), (50,))
    (w, _), values = jax.lax.scan(step, (w, tx.init(w)), None, 15)
    assert (jnp.diff(values) <= 1e-6).all()
    np.testing.assert_allclose(w, 0.3, atol=1e-5)


@every
def test_parameters_without_a_gradient_stay_and_the_others_move_as_if_alone(method):
    """The loss couples both, so that its Hessian would move the fixed one too."""
    tx = METHODS[method]()

    def coupled(w):
        return jnp.sum(jnp.cosh(w["a"] - 1) + w["a"] * w["b"] + w["b"] ** 2)

    w = {"a": jnp.zeros(3), "b": jnp.ones(3)}

    @jax.jit
    def step(w):
        value, grad = jax.value_and_grad(coupled)(w)
        grad = grad | {"b": None}
        given = {"value": value, "grad": grad, "value_fn": coupled}
        updates, _ = tx.update(grad, tx.init(w), w, **given)

        def alone(a):
            return coupled({"a": a, "b": w["b"]})

        given = {"value": value, "grad": grad["a"], "value_fn": alone}
        want, _ = tx.update(grad["a"], tx.init(w["a"]), w["a"], **given)
        return updates, want

    updates, want = step(w)
    assert updates["b"] is None
    np.testing.assert_allclose(updates["a"], want, rtol=1e-5)


@every
def test_empty_trees_pass(method):
    tx = METHODS[method]()
    for empty in ({}, {"none": None}):
        given = {"value": 0.0, "grad": empty, "value_fn": lambda w: jnp.zeros(())}
        updates, _ = tx.update(empty, tx.init(empty), empty, **given)
        assert updates == empty


def test_accelerators_round_no_product_to_fewer_bits():
    """All inner products ask for full precision, which CPUs have anyway."""
    w = jnp.ones(8)
    for make in (ot.newton_cg, ot.bfgs):
        tx = make()
        text = str(jax.make_jaxpr(lambda w, tx=tx: update(tx, w, tx.init(w)))(w))
        products = text.count("dot_general[")
        assert products > 0
        assert text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == products
