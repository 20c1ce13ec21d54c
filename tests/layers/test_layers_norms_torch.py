"""The norms against PyTorch: output, gradients, steps of momentum, statistics.

PyTorch computes in float64 on the numbers that our layer sees in its dtype.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from optix_tricks import layers

torch = pytest.importorskip("torch")

SHAPE = (4, 5, 3, 6)  # examples, height, width, channels
OURS = {
    "BatchNorm": functools.partial(layers.BatchNorm, 6, momentum=0.9, epsilon=1e-5),
    "LayerNorm": functools.partial(layers.LayerNorm, 6, epsilon=1e-5),
    "RMSNorm": functools.partial(layers.RMSNorm, 6, epsilon=1e-5),
    "GroupNorm": functools.partial(layers.GroupNorm, 6, num_groups=3, epsilon=1e-5),
    "InstanceNorm": functools.partial(layers.InstanceNorm, 6, epsilon=1e-5),
}
THEIRS = {
    "BatchNorm": lambda: torch.nn.BatchNorm2d(6, momentum=0.1),
    "LayerNorm": lambda: torch.nn.LayerNorm(6),
    "RMSNorm": lambda: torch.nn.RMSNorm(6, eps=1e-5),
    "GroupNorm": lambda: torch.nn.GroupNorm(3, 6),
    "InstanceNorm": lambda: torch.nn.InstanceNorm2d(6, affine=True),
}
CHANNELS_LAST = {"LayerNorm", "RMSNorm"}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


def arrays(dtype, mean=0.5):
    rng = np.random.default_rng(0)
    for _ in range(3):
        x, t = rng.normal(mean, 2, SHAPE), rng.normal(0, 1, SHAPE)
        yield jnp.asarray(x, dtype), jnp.asarray(t, dtype)


def to_torch(x, name):
    x = torch.tensor(np.asarray(x, np.float64))
    return x if name in CHANNELS_LAST else x.permute(0, 3, 1, 2).contiguous()


def from_torch(x, name):
    x = x.detach() if name in CHANNELS_LAST else x.detach().permute(0, 2, 3, 1)
    return x.numpy()


def train_ours(name, dtype, mean):
    """Three steps; the last output and gradient of x, parameters and statistics."""
    graph, params, stats = nnx.split(
        OURS[name](dtype=dtype, rngs=nnx.Rngs(0)), nnx.Param, ...
    )
    tx = optax.sgd(0.1, momentum=0.9)
    state = tx.init(params)

    @jax.jit
    def step(params, stats, state, x, t):
        def loss(params, x):
            module = nnx.merge(graph, params, stats, copy=True)
            y = module(x)
            wide = y.astype(jnp.float32) * t.astype(jnp.float32)
            return jnp.sum(wide) / 8, (y, nnx.state(module, nnx.BatchStat))

        grads, (y, new_stats) = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)
        updates, state = tx.update(grads[0], state)
        return y, grads[1], optax.apply_updates(params, updates), new_stats, state

    for x, t in arrays(dtype, mean):
        y, dx, params, stats, state = step(params, stats, state, x, t)
    assert y.dtype == dx.dtype == dtype
    as_float64 = [np.asarray(a.astype(jnp.float32), np.float64) for a in (y, dx)]
    return (*as_float64, nnx.to_pure_dict(params), nnx.to_pure_dict(stats))


def train_theirs(name, dtype, mean):
    module = THEIRS[name]().double()
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    for x, t in arrays(dtype, mean):
        x = to_torch(x, name).requires_grad_()
        optimizer.zero_grad()
        y = module(x)
        ((y * to_torch(t, name)).sum() / 8).backward()
        optimizer.step()
    return from_torch(y, name), from_torch(x.grad, name), module


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(
    ("dtype", "mean"),
    [("float32", 0.5), ("float32", 1000.0), ("bfloat16", 0.5), ("float16", 0.5)],
)
def test_three_steps_equal_pytorchs(name, dtype, mean):
    """Only y and the gradient of x are rounded to the dtype, parameters are not.

    At a mean of 1000 float32 leaves 2000 / 6e-5 levels of a deviation.
    """
    y, dx, params, stats = train_ours(name, DTYPES[dtype], mean)
    y_want, dx_want, module = train_theirs(name, DTYPES[dtype], mean)
    eps = float(jnp.finfo(DTYPES[dtype]).eps)
    exact = 1e-5 if mean < 1 else 1e-3
    for ours, theirs in ((y, y_want), (dx, dx_want)):
        size = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, atol=max(eps, exact) * size)
    close = {"rtol": exact, "atol": exact}
    np.testing.assert_allclose(params["scale"], module.weight.detach(), **close)
    if name != "RMSNorm":
        np.testing.assert_allclose(params["bias"], module.bias.detach(), **close)
    if name == "BatchNorm":
        np.testing.assert_allclose(
            stats["mean"], module.running_mean, rtol=1e-5, atol=1e-6
        )
        n = np.prod(SHAPE[:-1])
        kept = 0.9**3  # of the initial variance, which PyTorch does not rescale
        theirs = (module.running_var.numpy() - kept) * (n - 1) / n + kept
        np.testing.assert_allclose(stats["var"], theirs, rtol=2e-4 if mean > 1 else 1e-5)
        assert (stats["var"] < module.running_var.numpy()).all()


@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "InstanceNorm"])
def test_flaxs_defaults_cancel_where_these_do_not(name):
    """In float32, at a mean of 3000 standard deviations."""
    x = jnp.asarray(np.random.default_rng(0).normal(3000, 1, SHAPE), jnp.float32)
    want = from_torch(THEIRS[name]().double()(to_torch(x, name)), name)
    args = (6, 3) if name == "GroupNorm" else (6,)
    flaxs = getattr(nnx, name)(*args, epsilon=1e-5, rngs=nnx.Rngs(0))
    ours = OURS[name](rngs=nnx.Rngs(0))
    assert np.abs(flaxs(x) - want).max() > 10
    assert np.abs(ours(x) - want).max() < 5e-3


@pytest.mark.parametrize("name", OURS)
def test_scale_is_not_rounded_to_the_output(name):
    """1.003 is 1 in bfloat16: flax's default takes it for that."""
    options = {"scale_init": nnx.initializers.constant(1.003), "rngs": nnx.Rngs(0)}
    x = jnp.asarray(np.random.default_rng(0).normal(0.5, 2, SHAPE), jnp.bfloat16)
    y = OURS[name](dtype=jnp.bfloat16, **options)(x)
    wide = OURS[name](**options)(x.astype(jnp.float32))
    np.testing.assert_array_equal(y, wide.astype(jnp.bfloat16))
    args = (6, 3) if name == "GroupNorm" else (6,)
    flaxs = getattr(nnx, name)(*args, dtype=jnp.bfloat16, **options)
    ones = getattr(nnx, name)(*args, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(flaxs(x), ones(x))


@pytest.mark.parametrize("name", ["BatchNorm", "BatchRenorm", "GhostBatchNorm"])
def test_the_unbiased_running_variance_is_that_of_torch(name):
    """torch sees the ghosts of a batch one after the other."""
    ghosts = {"ghost_size": 2} if name == "GhostBatchNorm" else {}
    norm = getattr(layers, name)(
        6, momentum=0.9, unbiased=True, rngs=nnx.Rngs(0), **ghosts
    )
    theirs = THEIRS["BatchNorm"]().double()
    for x, _ in arrays(jnp.float32):
        norm(x)
        for part in np.split(np.asarray(x), 2 if ghosts else 1):
            theirs(to_torch(part, name))
    np.testing.assert_allclose(norm.mean[...], theirs.running_mean, rtol=1e-6)
    np.testing.assert_allclose(norm.var[...], theirs.running_var, rtol=1e-6)
