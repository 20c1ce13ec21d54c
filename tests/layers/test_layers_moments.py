"""Statistics of bfloat16 activations: one pass, one exchange, as right as they can be.

The reference is float64 over the numbers before they were rounded to bfloat16: what
rounding them does to the statistics is the measure of what the sums may do.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from optix_tricks.layers import BatchNorm, BatchRenorm, GhostBatchNorm

SHAPE = 64, 14, 14, 4
AXES = 0, 1, 2
DEVICES = 8


def activations(mean, seed=0):
    """The same numbers in float64 and rounded to bfloat16."""
    exact = np.random.default_rng(seed).normal(mean, 1.0, SHAPE)
    return exact, jnp.asarray(exact, jnp.bfloat16)


def normalize(x):
    norm = BatchNorm(SHAPE[-1], momentum=0.0, dtype=jnp.float32, rngs=nnx.Rngs(0))
    y = norm(x)
    return norm.mean[...], norm.var[...], y


@pytest.mark.parametrize("mean", [0, 1, 30, -300, 1e3, 1e4])
def test_sums_err_less_than_rounding_the_activations_does(mean):
    """By (eps mean)² / 48 at least, half an ulp being uniform; and no more than flax."""
    _, x = activations(mean)
    want = np.asarray(x, np.float64).var(AXES)
    got_mean, got_var, _ = normalize(x)
    flax = nnx.BatchNorm(SHAPE[-1], momentum=0.0, dtype=jnp.float32, rngs=nnx.Rngs(0))
    flax(x)
    error = np.abs(got_var - want).max()
    assert error < (2.0**-7 * mean) ** 2 / 48 + 1e-6
    assert error <= np.abs(flax.var[...] - want).max() * 1.5 + 1e-6
    spacing = np.spacing(np.float32(abs(mean) + 4))
    assert np.abs(got_mean - np.asarray(x, float).mean(AXES)).max() < 2 * spacing


@pytest.mark.parametrize("mean", [0, 30, 300])
def test_what_is_normalised_is_as_near_as_exact_statistics_bring_it(mean):
    exact, x = activations(mean)
    rounded = np.asarray(x, np.float64)

    def normalized(x):
        return (x - x.mean(AXES)) / np.sqrt(x.var(AXES) + 1e-5)

    by_rounding = np.abs(normalized(rounded) - normalized(exact)).max()
    _, _, y = normalize(x)
    assert np.abs(y - normalized(exact)).max() < 1.1 * by_rounding + 1e-5


@pytest.mark.parametrize("mean", [0, 30])
def test_the_gradient_is_that_of_float64(mean):
    """Derived by hand: g - E[g] - x̂ E[g x̂], over σ; rounded to bfloat16 as x is."""
    _, x = activations(mean)
    t = np.random.default_rng(1).normal(size=SHAPE)
    graph, state = nnx.split(BatchNorm(4, dtype=jnp.float32, rngs=nnx.Rngs(0)))

    def loss(x):
        return jnp.sum(jnp.asarray(t) * nnx.merge(graph, state, copy=True)(x))

    z = np.asarray(x, np.float64)
    sigma = np.sqrt(z.var(AXES) + 1e-5)
    hat = (z - z.mean(AXES)) / sigma
    want = (t - t.mean(AXES) - hat * (t * hat).mean(AXES)) / sigma
    got = np.asarray(jax.grad(loss)(x), np.float64)
    np.testing.assert_allclose(got, want, rtol=2.0**-7, atol=1e-3)


@pytest.mark.parametrize("x", [0.0, 7.3, -1e4])
def test_a_constant_feature_gives_next_to_nothing(x):
    """No more than rounding it might: half an ulp over the square root of epsilon."""
    _, var, y = normalize(jnp.full(SHAPE, x, jnp.bfloat16))
    assert (var >= 0).all()
    assert np.abs(y).max() <= abs(x) * 2.0**-9 / np.sqrt(1e-5)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("layer", [BatchNorm, BatchRenorm])
@pytest.mark.parametrize(("dtype", "forward"), [(jnp.bfloat16, 1), (jnp.float32, 2)])
def test_exchanges_of_a_norm_between_devices(layer, dtype, forward):
    """Counted in what the compiler made; the backward pass needs one."""
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("batch"))
    graph, state = nnx.split(layer(4, dtype=dtype, rngs=nnx.Rngs(0)))

    def forwards(x):
        norm = nnx.merge(graph, state, copy=True)
        return norm(x), nnx.state(norm, nnx.BatchStat)

    def backwards(x, t):
        y, pull, _ = jax.vjp(forwards, x, has_aux=True)
        return y, pull(t)

    x = jax.ShapeDtypeStruct((16, 4, 4, 4), dtype, sharding=split)
    assert exchanges(forwards, x) == forward
    assert exchanges(backwards, x, x) == forward + 1


def test_ghosts_of_a_devices_size_wait_for_no_other():
    """What is normalised needs no exchange: the running statistics alone do."""
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("batch"))
    norm = GhostBatchNorm(4, ghost_size=2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    graph, state = nnx.split(norm)
    x = jax.ShapeDtypeStruct((16, 4, 4, 4), jnp.bfloat16, sharding=split)
    assert exchanges(lambda x: nnx.merge(graph, state, copy=True)(x), x) == 0


def exchanges(function, *arguments):
    text = jax.jit(function).lower(*arguments).compile().as_text()
    return len(re.findall(r" all-reduce(?:-start)?\(", text))
