"""On a mesh whose axes are explicit the steps are those without a mesh."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optix_tricks as ot

rng = np.random.default_rng(0)
PARAMS = {"a": rng.normal(size=(8, 4)), "b": rng.normal(size=(4, 8)), "c": np.ones(3)}
SPECS = {"a": ("x", None), "b": (None, "x"), "c": (None,)}
TARGET = rng.normal(size=(8, 4))

METHODS = {
    "newton_schulz": lambda: optax.chain(ot.scale_by_newton_schulz(), optax.scale(-0.1)),
    "lbfgs_without_search": lambda: ot.lbfgs(0.1, linesearch=None),
    "lbfgs": ot.lbfgs,
    "bfgs": ot.bfgs,
    "newton_cg": ot.newton_cg,
    "nonlinear_cg": ot.nonlinear_cg,
}


def three_steps(tx, params, target):
    """The parameters, the state's types after init and after the steps."""

    def loss(params):
        left = jnp.sum(jnp.square(jnp.sin(params["a"]) - target))
        return left + jnp.sum(params["b"] ** 4) + jnp.sum(params["c"] ** 2)

    @jax.jit
    def step(params, state):
        value, grad = jax.value_and_grad(loss)(params)
        updates, state = optax.with_extra_args_support(tx).update(
            grad, state, params, value=value, grad=grad, value_fn=loss
        )
        return optax.apply_updates(params, updates), state

    first = state = jax.jit(tx.init)(params)
    for _ in range(3):
        params, state = step(params, state)
    return params, *(jax.tree.map(jax.typeof, tree) for tree in (first, state))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in [*METHODS][2:]]


@pytest.mark.parametrize("method", [*[*METHODS][:2], *SLOW])
def test_explicit_axes_change_no_step_and_no_type_of_the_state(method):
    tx = METHODS[method]()
    plain = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), PARAMS)
    target = jnp.asarray(TARGET, jnp.float32)
    want, *_ = three_steps(tx, plain, target)
    mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        placed = {
            name: jax.device_put(x, NamedSharding(mesh, PartitionSpec(*SPECS[name])))
            for name, x in plain.items()
        }
        target = jax.device_put(target, NamedSharding(mesh, PartitionSpec("x", None)))
        found, first, last = three_steps(tx, placed, target)
    assert first == last
    assert {name: tuple(x.sharding.spec) for name, x in found.items()} == SPECS
    chex.assert_trees_all_close(
        jax.device_get(found), jax.device_get(want), rtol=1e-4, atol=1e-5
    )


def test_the_history_of_lbfgs_lies_as_its_parameters_do():
    mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        w = jax.device_put(jnp.ones((8, 4)), NamedSharding(mesh, PartitionSpec("x")))
        state = ot.lbfgs().init(w)
    memory = optax.tree.get(state, "diff_params_memory")
    assert memory.sharding.spec == PartitionSpec(None, "x", None)
