"""`nnx.Optimizer` takes every transformation: ten steps in it are those of a plain tree.

It boxes the arrays of a state at the start, takes them out before each update, and puts
back what it finds, by path: a state must not change its form on the way.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import CASES
from flax import nnx

import optix_tricks as ot
from optix_tricks import testing
from optix_tricks.dynamics import observe_weight_norms
from optix_tricks.testing import nnx_module
from optix_tricks.testing._columns_trees import (
    nnx_optimizer_makes_the_same_steps,
    nnx_steps,
)

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# An attention's `value` is a layer and no box; the kernel of `big` fills blocks of int8.
PARAMS = {
    "attention": {"value": {"kernel": draw(3, 2, 2), "bias": draw(2, 2)}},
    "blocks": {0: {"kernel": draw(4, 3)}},
    "norm": {"scale": draw(3)},
}
BIG = PARAMS | {"big": {"kernel": draw(64, 64)}}
MASK = ot.mask_by_path("value/kernel$|big")

ROWS = {case.public: case for case in reversed(CASES)}  # the first of each function
INT8 = ot.adam(0.1, state_dtype="int8")
PARTS = {"a": ot.lars(0.1), "b": ot.sgd(0.1, momentum=0.9)}

VARIANTS = {
    "adam_int8": INT8,
    "adam_bfloat16": ot.adam(0.1, state_dtype="bfloat16"),
    "lookahead_int8": ot.lookahead(INT8, sync_period=2, reset_state=True),
    "skip_nonfinite_int8": ot.skip_nonfinite(INT8),
    "delayed_gradients_int8": ot.delayed_gradients(2, state_dtype="int8"),
    "ema_of_params_int8": ot.ema_of_params(0.8, state_dtype="int8", mask=MASK),
    "adamw_by_path": ot.adamw(0.1, weight_decay=0.5, mask=MASK),
    "rotation_by_path": ot.scale_by_rotation(0.1, mask=MASK),
    "groups_by_path": ot.scale_by_group(
        {"a": 2.0, "b": 0.5}, ot.label_by_path({"bias$": "a", "": "b"})
    ),
    "partition_by_path": optax.partition(
        PARTS, ot.label_by_path({"kernel$": "a", "": "b"})
    ),
    "observed": observe_weight_norms(ot.sgd(0.1), learning_rate=0.1, every=2),
}


def row_of(tx, params):
    """Five gradients, shown twice: ten steps."""
    grads = [jax.tree.map(lambda x: draw(*x.shape), params) for _ in range(5)]
    return testing.TransformationSubject(lambda: tx, params=params, grads=grads)


@pytest.mark.parametrize("name", [*ROWS, *VARIANTS])
def test_ten_steps_are_those_of_the_plain_tree(name):
    tx = ROWS[name].build() if name in ROWS else VARIANTS[name]
    params = BIG if "int8" in name else PARAMS
    row = row_of(tx, params)
    assert testing.assert_column(row, nnx_optimizer_makes_the_same_steps) is None
    steps = nnx_steps(row)
    assert not jax.tree.all(jax.tree.map(np.array_equal, steps.params, params))
    said, want = ot.report(steps.optimizer.opt_state), ot.report(steps.state)
    assert said.keys() == want.keys()
    chex.assert_trees_all_close(said, want, rtol=1e-5, atol=1e-5)


def test_what_one_asks_of_a_state_is_answered_from_an_optimizer():
    inner = ot.accumulate(ot.adam(0.1), 2)
    tx = ot.dynamic_loss_scale(optax.chain(inner, ot.ema_of_params(0.5)), init_scale=4.0)
    model, optimizer, _, w, plain_state = nnx_steps(row_of(tx, PARAMS))
    assert ot.loss_scale(optimizer.opt_state) == ot.loss_scale(plain_state) == 4
    params = nnx.state(model, nnx.Param)
    averages = ot.averaged_params(optimizer.opt_state, params)
    assert jax.tree.structure(averages) == jax.tree.structure(params)
    want = ot.averaged_params(plain_state, w)
    chex.assert_trees_all_close(nnx.to_pure_dict(averages), want, rtol=1e-6)
    table = ot.group_table(ot.no_bias_or_norm, params)
    assert table == ot.group_table(ot.no_bias_or_norm, w)


@pytest.mark.parametrize("rate", [0.25, np.float32(0.25), jnp.float32(0.25)])
def test_a_rate_set_in_the_state_is_the_next_steps_rate(rate):
    model = nnx_module(PARAMS)
    optimizer = nnx.Optimizer(model, ot.sgd(0.1), wrt=nnx.Param)
    assert optax.tree.get(optimizer.opt_state, "learning_rate")[...] == jnp.float32(0.1)
    state = optax.tree.set(optimizer.opt_state, learning_rate=rate)
    optimizer.opt_state = nnx.data(state)
    for _ in range(2):
        optimizer.update(model, nnx.state(nnx_module(PARAMS), nnx.Param))
    norm = nnx.to_pure_dict(nnx.state(model, nnx.Param))["norm"]["scale"]
    np.testing.assert_allclose(norm, 0.5 * PARAMS["norm"]["scale"], rtol=1e-6)


def test_numbers_per_layer_do_not_take_the_sharding_of_the_parameters_box():
    class Net(nnx.Module):
        def __init__(self):
            init = nnx.with_partitioning(nnx.initializers.ones, ("data", None))
            self.dense = nnx.Linear(64, 72, kernel_init=init, rngs=nnx.Rngs(0))

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    links = ot.scale_by_adam(state_dtype="int8"), ot.lars(0.1), ot.scale_by_rotation(0.1)
    with jax.set_mesh(mesh):
        model = Net()
        optimizer = nnx.Optimizer(model, optax.chain(*links), wrt=nnx.Param)
        codes = optimizer.opt_state[0].mu.codes["dense"]["kernel"][...]
        assert codes.dtype == jnp.int8
        assert codes.sharding.is_equivalent_to(model.dense.kernel[...].sharding, 2)
        assert len(codes.sharding.device_set) == 8
    assert "trust_ratio/dense/kernel" in ot.report(optimizer.opt_state)
