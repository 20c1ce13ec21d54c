"""What a state is made of outlives the steps that are given the state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    compile_step,
    compile_step_on_devices,
    compile_step_on_mesh,
    create_state,
    functional,
    make_epoch,
    make_train_step,
)

BATCH = Batch(jnp.asarray(np.eye(8, dtype=np.float32)), jnp.arange(8) % 3)


def made(tx, **options):
    model = nnx.Sequential(
        nnx.Linear(8, 3, rngs=nnx.Rngs(0)), nnx.BatchNorm(3, rngs=nnx.Rngs(0))
    )
    apply, params, stats = functional(model)
    given = {"params": params, "stats": stats, "key": jax.random.key(0)}
    state = create_state(params, stats, tx, given["key"], **options)
    return model, apply, given, state


def values(given):
    data = given | {"key": jax.random.key_data(given["key"])}
    return jax.tree.map(lambda x: np.array(x), data)


def assert_untouched(model, given, before):
    jax.tree.map(np.testing.assert_array_equal, values(given), before)
    assert jnp.isfinite(model(BATCH.inputs)).all()


SGD = ot.sgd(0.1, momentum=0.9)


@pytest.mark.parametrize(
    ("tx", "options"),
    [
        (SGD, {}),
        (SGD, {"packed": True}),
        (optax.chain(SGD, ot.ema_of_params(0.9)), {}),
        (optax.contrib.schedule_free_sgd(0.1), {}),  # holds the parameters themselves
        (optax.contrib.dowg(0.1), {}),  # and one array twice
    ],
    ids=["sgd", "packed", "average", "schedule-free", "dowg"],
)
def test_on_one_device(tx, options):
    model, apply, given, state = made(tx, **options)
    before = values(given)
    step = compile_step(make_train_step(apply, cross_entropy, tx))
    first, _ = step(state, BATCH)
    step(first, BATCH)
    assert jax.tree.leaves(state.params)[0].is_deleted()  # or nothing was tested
    assert_untouched(model, given, before)


@pytest.mark.parametrize("mode", ["loop", "scan"])
def test_in_an_epoch(mode):
    model, apply, given, state = made(SGD)
    before = values(given)
    epoch = make_epoch(make_train_step(apply, cross_entropy, SGD), mode=mode)
    epoch(state, BATCH, jnp.arange(8).reshape(2, 4))
    assert_untouched(model, given, before)


@pytest.mark.parametrize("layout", ["replicated", "fsdp"])
@pytest.mark.parametrize("devices", [1, 8])
def test_on_a_mesh_which_leaves_the_unplaced_state_too(devices, layout):
    model, apply, given, state = made(SGD)
    before = values(given)
    mesh = jax.make_mesh(
        (devices,),
        ("data",),
        devices=jax.devices()[:devices],
        axis_types=(jax.sharding.AxisType.Auto,),
    )
    step = make_train_step(apply, cross_entropy, SGD)
    step, placed = compile_step_on_mesh(step, mesh, state, layout=layout)
    step(placed, BATCH)
    assert jax.tree.leaves(placed.params)[0].is_deleted()
    assert not any(x.is_deleted() for x in jax.tree.leaves(state))
    assert_untouched(model, given, before)


def test_under_pmap():
    model, apply, given, state = made(SGD)
    before = values(given)
    step = make_train_step(apply, cross_entropy, SGD, axis_name="devices")
    step, stacked = compile_step_on_devices(step, state, axis_name="devices")
    step(stacked, jax.tree.map(lambda x: x.reshape(8, 1, *x.shape[1:]), BATCH))
    assert not any(x.is_deleted() for x in jax.tree.leaves(state))
    assert_untouched(model, given, before)
