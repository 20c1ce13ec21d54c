"""One step on eight devices is the step on one: losses, parameters and statistics."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from optix_tricks.layers import (
    BatchNorm,
    BatchRenorm,
    FrozenScaleBatchNorm,
    GhostBatchNorm,
)
from optix_tricks.training import functional

NORMS = {
    "flax": nnx.BatchNorm,
    "BatchNorm": BatchNorm,
    "unbiased": functools.partial(BatchNorm, unbiased=True),
    "BatchRenorm": functools.partial(BatchRenorm, r_max=1.2, d_max=0.1),
    "GhostBatchNorm": functools.partial(GhostBatchNorm, ghost_size=2),
    "FrozenScaleBatchNorm": functools.partial(FrozenScaleBatchNorm, scale=0.5),
}
DEVICES, BATCH = 8, 32
AXIS = "data"


class Net(nnx.Module):
    """What stands before the norm has gradients that pass through its statistics."""

    def __init__(self, norm, **options):
        self.linear = nnx.Linear(3, 3, rngs=nnx.Rngs(0))
        self.norm = norm(3, momentum=0.8, rngs=nnx.Rngs(0), **options)

    def __call__(self, x, *, train):
        return self.norm(self.linear(x), use_running_average=not train)


def data():
    """Devices whose parts differ much, in mean and in scale."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, 4, 3)) * np.linspace(0.5, 4, BATCH)[:, None, None]
    x += np.linspace(-3, 5, BATCH)[:, None, None]
    return jnp.asarray(x, jnp.float32), jnp.asarray(rng.normal(size=x.shape), jnp.float32)


def step_of(norm, *, axis_name=None, local_gradient=True):
    """One step of gradient descent on the mean of (y - t)³, a loss with curvature."""
    options = {} if axis_name is None else {"axis_name": axis_name}
    apply, params, stats = functional(Net(norm, **options))

    def average(tree):
        return tree if axis_name is None else lax.pmean(tree, axis_name)

    def step(params, stats, x, t):
        def objective(params):
            y, new_stats = apply(params, stats, x, train=True)
            loss = jnp.mean((y - t) ** 3)
            return loss if local_gradient else average(loss), new_stats

        (loss, stats), grads = jax.value_and_grad(objective, has_aux=True)(params)
        if local_gradient:
            loss, grads = average((loss, grads))
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
        return loss, params, stats

    return step, params, stats


@functools.cache
def on_one_device(name):
    step, params, stats = step_of(NORMS[name])
    return jax.device_get(jax.jit(step)(params, stats, *data()))


def assert_same(name, got):
    chex.assert_trees_all_close(
        jax.device_get(got), on_one_device(name), rtol=1e-4, atol=2e-6
    )


every = pytest.mark.parametrize("name", NORMS)


@every
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_jit_on_a_mesh(name, kind):
    step, params, stats = step_of(NORMS[name])
    mesh = jax.make_mesh((DEVICES,), (AXIS,), axis_types=(kind,))
    over_batch = NamedSharding(mesh, PartitionSpec(AXIS))
    with jax.set_mesh(mesh):
        x, t = jax.device_put(data(), over_batch)
        got = jax.jit(step)(params, stats, x, t)
    assert_same(name, got)


@every
def test_shard_map_with_an_axis_name(name):
    """The gradient is that of the averaged loss."""
    step, params, stats = step_of(NORMS[name], axis_name=AXIS, local_gradient=False)
    mesh = jax.make_mesh((DEVICES,), (AXIS,), axis_types=(AxisType.Auto,))
    whole, part = PartitionSpec(), PartitionSpec(AXIS)
    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(whole, whole, part, part), out_specs=whole
    )
    assert_same(name, jax.jit(mapped)(params, stats, *data()))


@every
def test_pmap_with_an_axis_name(name):
    """The average of the devices' gradients; every device ends with the same."""
    step, params, stats = step_of(NORMS[name], axis_name=AXIS)
    parts = jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), data())
    mapped = jax.pmap(step, axis_name=AXIS, in_axes=(None, None, 0, 0))
    got = jax.device_get(mapped(params, stats, *parts))
    for device in (0, DEVICES - 1):
        assert_same(name, jax.tree.map(lambda leaf, i=device: leaf[i], got))


def test_pmap_without_an_axis_name_has_statistics_of_its_own():
    step, params, stats = step_of(BatchNorm)
    parts = jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), data())
    _, _, got = jax.pmap(step, in_axes=(None, None, 0, 0))(params, stats, *parts)
    assert np.ptp(np.asarray(got["norm"]["mean"]), axis=0).min() > 0.01


def test_groups_of_devices_share_statistics():
    """Two groups of four: batch normalisation of either half."""
    groups = [[0, 1, 2, 3], [4, 5, 6, 7]]
    norm = BatchNorm(3, axis_name=AXIS, axis_index_groups=groups, rngs=nnx.Rngs(0))
    alone = BatchNorm(3, rngs=nnx.Rngs(0))
    x, _ = data()
    graph, state = nnx.split(norm)

    def apply(x):
        return nnx.merge(graph, state, copy=True)(x)

    y = jax.pmap(apply, axis_name=AXIS)(x.reshape(DEVICES, -1, *x.shape[1:]))
    want = jnp.concatenate([alone(half) for half in jnp.split(x, 2)])
    np.testing.assert_allclose(np.asarray(y).reshape(x.shape), want, rtol=1e-4, atol=1e-6)
