"""Layouts on a mesh: the numbers of one device, and what each device keeps."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, AxisType

from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    ResNet50,
    _layouts,
    create_state,
    device_bytes,
    epoch_order,
    functional,
    make_epoch,
    make_train_step,
    state_shardings,
)
from optix_tricks.training._layouts import axis_of, put
from tests.training.toy_runs import toy_dataset
from tests.training.wide import APPLY, PARAMS, STATS, TRICKS, averaged

LAYOUTS = ["replicated", "zero1", "fsdp"]
STEPS = 20


@functools.cache
def train(tricks, mesh=None, layout="replicated"):
    """Twenty steps in one scan; the state and the losses."""
    options = {"loss": cross_entropy, **TRICKS[tricks]}
    loss, tx = options.pop("loss"), options.pop("tx")
    step = make_train_step(APPLY, loss, tx, **options)
    state = create_state(PARAMS, STATS, tx, jax.random.key(0))
    data = jax.tree.map(jnp.asarray, toy_dataset().train)
    orders = [epoch_order(jax.random.key(1), i, data.size, 16) for i in range(4)]
    order = np.concatenate(orders)[:STEPS]
    if mesh is not None:
        state = put(state, state_shardings(state, mesh, layout))
        data = put(data, jax.tree.map(lambda x: jax.NamedSharding(mesh, jax.P()), data))
    return make_epoch(step, mode="scan", mesh=mesh, layout=layout)(state, data, order)


@pytest.mark.parametrize("tricks", TRICKS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_eight_devices_have_the_losses_of_one(layout, tricks):
    state, metrics = train(tricks, axis_of(jax.devices()), layout)
    wanted, of_one = train(tricks)
    chex.assert_trees_all_close(metrics, of_one, rtol=2e-4, atol=2e-6)
    assert not np.allclose(metrics["loss"][:4], metrics["loss"][-4:], rtol=1e-2)
    ours, theirs = (jax.device_get((x.params, x.batch_stats)) for x in (state, wanted))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-3, atol=1e-5)

    kernel = PARAMS["dense"]["kernel"].nbytes
    rest = device_bytes(wanted.params) - kernel
    split = {"replicated": 1, "zero1": 1, "fsdp": 8}[layout]
    assert device_bytes(state.params) == kernel // split + rest
    slots = [x for x in jax.tree.leaves(wanted.opt_state) if x.shape == (192, 64)]
    split = 1 if layout == "replicated" else 8
    saved = len(slots) * (kernel - kernel // split)
    assert device_bytes(state.opt_state) == device_bytes(wanted.opt_state) - saved
    assert slots


@pytest.mark.parametrize("tricks", ["lars", "swa"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_average_s_refreshed_statistics_are_those_of_one(layout, tricks):
    """Of ema_of_params, which "lars" has beside it, and of swa."""
    state, _ = train(tricks, axis_of(jax.devices()), layout)
    wanted, _ = train(tricks)
    ours, theirs = averaged(state), averaged(wanted)
    for x, y in ((ours.params, theirs.params), (ours.batch_stats, theirs.batch_stats)):
        chex.assert_trees_all_close(*map(jax.device_get, (x, y)), rtol=1e-3, atol=1e-5)
    fresh, stale = theirs.batch_stats["norm"]["mean"], wanted.batch_stats["norm"]["mean"]
    assert not np.allclose(fresh, stale, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_and_four_have_them_too(layout, devices):
    _, metrics = train("lars", axis_of(jax.devices()[:devices]), layout)
    chex.assert_trees_all_close(metrics, train("lars")[1], rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("number", [1, 8, 12, 256, 4096])
def test_what_a_device_keeps_falls_with_their_number(number):
    """Of ResNet-50: by shapes alone, as on devices that are not there."""
    shapes = jax.eval_shape(lambda: functional(ResNet50(1000, rngs=nnx.Rngs(0)))[1])
    factors = _layouts._prime_factors(number) or [1]
    names = tuple(f"factor{i}" for i in range(len(factors)))
    mesh = AbstractMesh(tuple(factors), names, axis_types=(AxisType.Auto,) * len(factors))

    def kept(x):
        if x.size <= 4096:
            return x.size
        sharding = jax.NamedSharding(mesh, _layouts._spec(x.shape, mesh.shape))
        piece = int(np.prod(sharding.shard_shape(x.shape)))
        assert piece >= 1024
        return piece

    megabytes = sum(4 * kept(x) for x in jax.tree.leaves(shapes)) / 1e6
    wanted = {1: 102.2, 8: 12.9, 12: 18.2, 256: 0.6, 4096: 0.5}[number]
    assert megabytes == pytest.approx(wanted, rel=0.2)


def test_a_layout_that_is_none():
    mesh, tx = axis_of(jax.devices()), TRICKS["sam"]["tx"]
    message = "layout must be 'replicated', 'zero1' or 'fsdp', got 'zero3'"
    with pytest.raises(ValueError, match=message):
        state_shardings(create_state(PARAMS, STATS, tx, jax.random.key(0)), mesh, "zero3")
