"""Refreshed statistics: NumPy's means over batches, and what they do after averaging."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks.layers import BatchRenorm
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    ResNet9,
    create_state,
    functional,
    make_train_step,
    refresh_batch_statistics,
)
from optix_tricks.transforms import averaged_params, swa


class TwoNorms(nnx.Module):
    """Two normalised layers; what the second sees depends on the first's batch."""

    def __init__(self, momentum=0.99, dtype=jnp.float32):
        rngs = nnx.Rngs(0)
        self.dense1 = nnx.Linear(5, 4, dtype=dtype, rngs=rngs)
        self.norm1 = nnx.BatchNorm(4, momentum=momentum, dtype=dtype, rngs=rngs)
        self.dense2 = nnx.Linear(4, 3, dtype=dtype, rngs=rngs)
        self.norm2 = nnx.BatchNorm(3, momentum=momentum, dtype=dtype, rngs=rngs)

    def __call__(self, x, *, train):
        x = nnx.relu(self.norm1(self.dense1(x), use_running_average=not train))
        return self.norm2(self.dense2(x), use_running_average=not train)


def batches_of(sizes, offset=2.0):
    rng = np.random.default_rng(1)
    return [jnp.asarray(rng.normal(size=(n, 5)) * 3 + offset, jnp.float32) for n in sizes]


def in_numpy(params, batches):
    """Weighted means of the batches' means and variances, in float64."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    rows, sizes = [], []
    for x in batches:
        x = np.asarray(x, np.float64) @ p["dense1"]["kernel"] + p["dense1"]["bias"]
        mean1, var1 = x.mean(0), x.var(0)
        x = np.maximum((x - mean1) / np.sqrt(var1 + 1e-5), 0)
        x = x @ p["dense2"]["kernel"] + p["dense2"]["bias"]
        rows.append((mean1, var1, x.mean(0), x.var(0)))
        sizes.append(len(x))
    mean1, var1, mean2, var2 = (
        np.average(column, axis=0, weights=sizes) for column in zip(*rows, strict=True)
    )
    return {"norm1": {"mean": mean1, "var": var1}, "norm2": {"mean": mean2, "var": var2}}


def assert_close(ours, expected, rtol):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99, 0.999])
def test_it_is_the_mean_over_batches_at_any_momentum(momentum):
    apply, params, stats = functional(TwoNorms(momentum))
    batches = batches_of([8, 8, 8, 3])
    stale = jax.tree.map(lambda x: x + 7.0, stats)
    new = refresh_batch_statistics(apply, params, stale, iter(batches))
    assert_close(new, in_numpy(params, batches), rtol=1e-4 if momentum == 0.999 else 1e-5)


def test_the_variance_is_that_within_batches():
    """Batches that are constant, each of another value, have no variance."""
    apply, params, stats = functional(TwoNorms())
    batches = [jnp.full((4, 5), value) for value in (-1.0, 0.0, 3.0)]
    new = refresh_batch_statistics(apply, params, stats, batches)
    np.testing.assert_allclose(new["norm1"]["var"], np.zeros(4), atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_activations_of_half_precision(dtype):
    """Averaged in float32: 300 batches lose no more than one."""
    apply, params, stats = functional(TwoNorms(dtype=dtype))
    batch = batches_of([8])
    once = refresh_batch_statistics(apply, params, stats, batch)
    assert {x.dtype for x in jax.tree.leaves(once)} == {jnp.dtype("float32")}
    often = refresh_batch_statistics(apply, params, stats, batch * 300)
    assert_close(often, once, rtol=1e-6)
    assert_close(once, in_numpy(params, batch), rtol=0.05)


def test_statistics_keep_their_dtype():
    def apply(params, batch_stats, images, *, train, key=None):
        del train, key
        mean = jnp.mean(images, dtype=jnp.float32)
        return images, {"mean": 0.75 * batch_stats["mean"] + 0.25 * mean}

    stats = {"mean": jnp.zeros((), jnp.bfloat16)}
    batches = [jnp.full((2, 1), x) for x in (1.0, 2.0, 4.0, 8.0)]
    new = refresh_batch_statistics(apply, {}, stats, batches)
    assert new["mean"].dtype == jnp.bfloat16
    assert new["mean"] == 3.75


def test_a_network_without_statistics_has_none():
    apply, params, stats = functional(nnx.Sequential(Flatten(), Head()))
    assert refresh_batch_statistics(apply, params, stats, batches_of([2])) == stats == {}


class Flatten(nnx.Module):
    def __call__(self, x, *, train):
        return x.reshape(len(x), -1)


class Head(nnx.Module):
    def __init__(self):
        self.linear = nnx.Linear(5, 2, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.linear(x)


def resnet9(rng):
    """With kernels drawn by NumPy: JAX's draws take longer to compile than the test."""

    def array(path, x):
        fan_in = np.prod(x.shape[:-1])
        kernel = rng.normal(size=x.shape) / np.sqrt(fan_in)
        start = {"kernel": kernel, "scale": 1.0, "var": 1.0, "bias": 0.0, "mean": 0.0}
        return jnp.asarray(np.broadcast_to(start[path[-1].key], x.shape), x.dtype)

    model = nnx.eval_shape(lambda: ResNet9(3, width=4, rngs=nnx.Rngs(0)))
    apply, *shapes = functional(model)
    return apply, *jax.tree_util.tree_map_with_path(array, shapes)


def test_averaged_parameters_test_better_with_their_own_statistics():
    """ResNet-9, and the average of all weights on the way at a rate that is too high."""
    rng = np.random.default_rng(0)
    labels = jnp.asarray(rng.integers(0, 3, 256))
    patterns, noise = rng.normal(size=(3, 8, 8, 3)), rng.normal(size=(256, 8, 8, 3))
    images = jnp.asarray(patterns[labels] + 2 * noise, jnp.float32)
    train = [Batch(images[i : i + 32], labels[i : i + 32]) for i in range(0, 128, 32)]

    apply, params, stats = resnet9(rng)
    tx = optax.chain(ot.sgd(2.0), swa(0))
    step = jax.jit(make_train_step(apply, cross_entropy, tx))
    state = create_state(params, stats, tx, jax.random.key(0))
    for batch in train * 4:
        state, _ = step(state, batch)
    average = averaged_params(state.opt_state, state.params)
    new = refresh_batch_statistics(
        apply, average, state.batch_stats, (batch.inputs for batch in train)
    )

    @jax.jit
    def test_loss(batch_stats):
        logits, _ = apply(average, batch_stats, images[128:], train=False)
        return jnp.mean(cross_entropy(logits, labels[128:]))

    assert test_loss(new) < 0.8 * test_loss(state.batch_stats)


def test_a_momentum_of_one_leaves_the_statistics():
    model = TwoNorms()
    model.norm2.momentum = 1.0
    apply, params, stats = functional(model)
    new = refresh_batch_statistics(apply, params, stats, batches_of([4]))
    assert_close(new["norm2"], stats["norm2"], rtol=0)
    assert (new["norm1"]["mean"] != 0).all()


def test_diverged_parameters_have_nan_for_statistics():
    apply, params, stats = functional(TwoNorms())
    params["dense2"]["bias"] *= jnp.nan
    new = refresh_batch_statistics(apply, params, stats, batches_of([4]))
    assert np.isnan(new["norm2"]["mean"]).all()
    assert np.isfinite(new["norm1"]["mean"]).all()


class Renormalised(nnx.Module):
    def __init__(self, **bounds):
        norm = functools.partial(BatchRenorm, 5, rngs=nnx.Rngs(0), **bounds)
        self.norm1, self.norm2 = norm(), norm()

    def __call__(self, x, *, train):
        x = nnx.tanh(self.norm1(x, use_running_average=not train))
        return self.norm2(x, use_running_average=not train)


def test_batch_renormalisation_is_as_at_its_start():
    """There it is batch normalisation; its count of steps stays."""
    apply, params, stats = functional(Renormalised())
    stats["norm1"]["count"] = jnp.float32(40_000)
    (x,) = batches_of([16])
    new = refresh_batch_statistics(apply, params, stats, [x])
    assert new["norm1"]["count"] == 40_000
    x = np.asarray(x, np.float64)
    y = np.tanh((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5))
    for name, values in (("norm1", x), ("norm2", y)):
        np.testing.assert_allclose(
            new[name]["mean"], values.mean(0), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(new[name]["var"], values.var(0), rtol=1e-4)


class TrainsOnRunningStatistics(nnx.Module):
    """Normalises by the running mean in training too, as batch renormalisation does."""

    def __init__(self):
        self.mean = nnx.BatchStat(jnp.zeros(5))
        self.norm = nnx.BatchNorm(5, rngs=nnx.Rngs(0))

    def __call__(self, x, *, train):
        centred = x / (1 + self.mean[...] ** 2)[None]
        self.mean.set_value(0.9 * self.mean[...] + 0.1 * x.mean(axis=0))
        return self.norm(centred, use_running_average=not train)


class Counts(nnx.Module):
    def __init__(self):
        self.count = nnx.BatchStat(jnp.zeros((), jnp.int32))

    def __call__(self, x, *, train):
        return x


@pytest.mark.parametrize(
    ("model", "batches", "message"),
    [
        (TwoNorms, [], "batches must hold at least one batch of images, got none"),
        (TrainsOnRunningStatistics, batches_of([4]), "'norm/mean' must become m s"),
        (
            Counts,
            batches_of([4]),
            "floating, got int32 at 'count': keep it in a variable",
        ),
    ],
)
def test_bad_input_raises(model, batches, message):
    apply, params, stats = functional(model())
    with pytest.raises(ValueError, match=message):
        refresh_batch_statistics(apply, params, stats, batches)
