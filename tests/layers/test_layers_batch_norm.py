"""Batch normalisation against NumPy in float64, its gradient written by hand."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from optix_tricks.layers import BatchNorm, FrozenScaleBatchNorm
from optix_tricks.training import functional


def normal(*shape, seed=0, mean=0.0, std=1.0, dtype=np.float32):
    return np.random.default_rng(seed).normal(mean, std, shape).astype(dtype)


def normalized(x, epsilon=1e-5):
    """Over all axes but the last, in float64."""
    x = np.asarray(x, np.float64)
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + epsilon)


class Net(nnx.Module):
    """A linear layer, whose gradient has passed the norm, and the norm."""

    def __init__(self, norm, features=3):
        self.linear = nnx.Linear(features, features, use_bias=False, rngs=nnx.Rngs(0))
        self.norm = norm

    def __call__(self, x, *, train):
        return self.norm(self.linear(x), use_running_average=not train)


@pytest.mark.parametrize("scale", ["trained", 0.25])
def test_steps_of_momentum_equal_a_hand_written_backward_pass(scale):
    """Loss: the mean over positions of t · y; three steps, then evaluation."""
    m, epsilon, rate = 0.8, 1e-3, 0.1
    options = {"momentum": m, "epsilon": epsilon, "rngs": nnx.Rngs(0)}
    if scale == "trained":
        norm = BatchNorm(3, scale_init=nnx.initializers.constant(1.5), **options)
    else:
        norm = FrozenScaleBatchNorm(3, scale=scale, **options)
    apply, params, stats = functional(Net(norm))
    tx = optax.sgd(rate, momentum=0.9)
    state = tx.init(params)

    @jax.jit
    def step(params, stats, state, x, t):
        def loss(params):
            y, new_stats = apply(params, stats, x, train=True)
            return jnp.mean(jnp.sum(t * y, axis=-1)), new_stats

        grads, stats = jax.grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), stats, state

    w = np.asarray(params["linear"]["kernel"], np.float64)
    gamma = np.full(3, 1.5 if scale == "trained" else scale)
    beta, mean, var = np.zeros(3), np.zeros(3), np.ones(3)
    trace = [np.zeros_like(w), np.zeros(3), np.zeros(3)]
    for seed in range(3):
        x, t = normal(4, 2, 2, 3, seed=seed), normal(4, 2, 2, 3, seed=seed + 9)
        params, stats, state = step(params, stats, state, jnp.asarray(x), t)
        rows, g = x.reshape(-1, 3).astype(float), t.reshape(-1, 3) / 16.0
        z = rows @ w
        sigma = np.sqrt(z.var(0) + epsilon)
        hat = (z - z.mean(0)) / sigma
        dz = gamma / sigma * (g - g.mean(0) - hat * (g * hat).mean(0))
        grads = rows.T @ dz, (g * hat).sum(0), g.sum(0)
        mean, var = m * mean + (1 - m) * z.mean(0), m * var + (1 - m) * z.var(0)
        trace = [0.9 * v + d for v, d in zip(trace, grads, strict=True)]
        w = w - rate * trace[0]
        gamma = gamma - (rate * trace[1] if scale == "trained" else 0)
        beta = beta - rate * trace[2]
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(params["linear"]["kernel"], w, **close)
    np.testing.assert_allclose(params["norm"]["bias"], beta, **close)
    if scale == "trained":
        np.testing.assert_allclose(params["norm"]["scale"], gamma, **close)
    np.testing.assert_allclose(stats["norm"]["mean"], mean, **close)
    np.testing.assert_allclose(stats["norm"]["var"], var, **close)
    y, _ = apply(params, stats, jnp.asarray(x), train=False)
    want = gamma * (x @ w - mean) / np.sqrt(var + epsilon) + beta
    np.testing.assert_allclose(y, want, **close)


@pytest.mark.parametrize("shape", [(64, 8, 8, 4), (512, 4)])
@pytest.mark.parametrize("mean", [0, 1e3, 1e4, -1e5])
def test_variance_does_not_cancel_far_from_zero(shape, mean):
    """What is lost is of the order of what float32 has lost of x already."""
    x = normal(*shape, mean=mean)
    norm = BatchNorm(4, momentum=0.0, rngs=nnx.Rngs(0))
    y = norm(jnp.asarray(x))
    exact = np.asarray(x, np.float64)
    axes = tuple(range(x.ndim - 1))
    ulp = np.spacing(np.float32(abs(mean) + 4))
    np.testing.assert_allclose(norm.var[...], exact.var(axes), rtol=5e-6 + ulp / 10)
    np.testing.assert_allclose(norm.mean[...], exact.mean(axes), atol=ulp)
    np.testing.assert_allclose(y, normalized(x), atol=1e-5 + 2 * ulp)


def test_what_flax_gives_there():
    """The size of the difference that the documentation states."""

    def error(mean):
        x = normal(64, 8, 8, 16, mean=mean)
        y = nnx.BatchNorm(16, rngs=nnx.Rngs(0))(jnp.asarray(x))
        return np.abs(y - normalized(x)).max() / np.abs(normalized(x)).max()

    assert error(1) < 1e-6
    assert error(1000) > 0.01
    assert error(3000) > 100


def test_one_pixel_far_from_all_others_costs_no_more_than_their_number():
    """An example's origin at its worst; sums of equal numbers are right to 4e-6."""
    x = normal(2, 32, 32, 1, std=1e-3)
    x[0, 0, 0] = 1e4
    norm = BatchNorm(1, momentum=0.0, rngs=nnx.Rngs(0))
    norm(jnp.asarray(x))
    assert norm.var[0] == pytest.approx(x.astype(np.float64).var(), rel=1024 * 4e-6)


@settings(max_examples=12)
@given(
    st.sampled_from([(1, 3), (6, 1), (3, 4)]),
    st.floats(-1e4, 1e4),
    st.sampled_from([1e-3, 1.0, 1e3]),
    st.integers(0, 10**6),
)
def test_variance_is_never_negative_and_equals_numpys(shape, mean, std, seed):
    x = normal(*shape, 2, seed=seed, mean=mean, std=std)
    norm = BatchNorm(2, momentum=0.0, rngs=nnx.Rngs(0))
    norm(jnp.asarray(x))
    exact = x.astype(np.float64)
    ulp = np.spacing(np.abs(x).max())
    assert (norm.var[...] >= 0).all()
    off = ulp * (ulp + exact.std((0, 1)).max())
    np.testing.assert_allclose(norm.var[...], exact.var((0, 1)), rtol=1e-5, atol=off)


@pytest.mark.parametrize("shape", [(1, 3), (5, 3), (4, 2, 3)])
def test_a_constant_feature_gives_the_bias_and_finite_gradients(shape):
    norm = BatchNorm(3, bias_init=nnx.initializers.constant(0.5), rngs=nnx.Rngs(0))
    graph, state = nnx.split(norm)
    x, weight = jnp.full(shape, 7.3), jnp.asarray(normal(*shape))

    def loss(state, x):
        y = nnx.merge(graph, state, copy=True)(x)
        return jnp.sum(weight * y), y

    grads, y = jax.grad(loss, argnums=(0, 1), has_aux=True)(state, x)
    np.testing.assert_array_equal(y, jnp.full(shape, 0.5))
    chex.assert_tree_all_finite(grads)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_only_the_output_is_rounded(dtype):
    """Statistics, scale and bias that 16 bits cannot hold, in both modes."""
    x = jnp.asarray(normal(16, 3, 3, 2, mean=300, std=100), dtype)
    options = {
        "scale_init": nnx.initializers.constant(1.001),
        "bias_init": nnx.initializers.constant(0.1001),
        "rngs": nnx.Rngs(0),
    }
    low, full = BatchNorm(2, dtype=dtype, **options), BatchNorm(2, **options)
    wide = x.astype(jnp.float32)
    for mode in (False, True):
        for norm in (low, full):
            norm.var[...] = jnp.array([1e5, 98765.4])  # 1e5 is infinity in float16
        y = low(x, use_running_average=mode)
        assert y.dtype == dtype
        want = full(wide, use_running_average=mode)
        assert want.dtype == jnp.float32
        np.testing.assert_array_equal(y, want.astype(dtype))
    chex.assert_trees_all_equal(
        nnx.to_pure_dict(nnx.state(low)), nnx.to_pure_dict(nnx.state(full))
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_gradients_of_scale_and_bias_are_not_rounded(dtype):
    x = jnp.asarray(normal(16, 4), dtype)
    t = jnp.asarray(normal(16, 4, seed=1), dtype)

    def gradient(dtype):
        graph, params, rest = nnx.split(
            BatchNorm(4, dtype=dtype, rngs=nnx.Rngs(0)), nnx.Param, ...
        )

        def loss(params):
            y = nnx.merge(graph, params, rest, copy=True)(x)
            return jnp.sum(t.astype(jnp.float32) * y.astype(jnp.float32))

        return jax.grad(loss)(params)

    chex.assert_trees_all_close(gradient(dtype), gradient(jnp.float32), rtol=1e-6)


OPTIONS = {
    "defaults": {},
    "no scale": {"use_scale": False},
    "no bias": {"use_bias": False},
    "neither": {"use_scale": False, "use_bias": False},
    "momentum": {"momentum": 0.5, "epsilon": 0.1},
    "dtype": {"dtype": jnp.float32, "param_dtype": jnp.bfloat16},
    "inits": {
        "scale_init": nnx.initializers.normal(1.0),
        "bias_init": nnx.initializers.normal(1.0),
    },
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_takes_the_place_of_flaxs(options):
    """Same arguments, same variables, same values."""
    ours = BatchNorm(3, **options, rngs=nnx.Rngs(4))
    theirs = nnx.BatchNorm(3, **options, rngs=nnx.Rngs(4))
    close = {"rtol": 1e-5, "atol": 2e-6}
    for seed in range(2):
        x = jnp.asarray(normal(8, 2, 3, seed=seed))
        y, want = ours(x), theirs(x)
        assert y.dtype == want.dtype
        if options.get("param_dtype") != jnp.bfloat16:
            np.testing.assert_allclose(y, want, **close)
    a, b = (nnx.to_pure_dict(nnx.state(norm)) for norm in (ours, theirs))
    chex.assert_trees_all_close(a, b, **close)
    for norm in (ours, theirs):
        norm.eval()
    np.testing.assert_allclose(ours(x), theirs(x), **close)
    half = x.astype(jnp.bfloat16)
    assert ours(half).dtype == theirs(half).dtype
    assert isinstance(ours, nnx.BatchNorm)


def test_the_call_goes_before_the_layers_own_setting():
    x = jnp.asarray(normal(4, 3))
    norm = BatchNorm(3, use_running_average=True, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(norm(x), x, rtol=1e-5)
    np.testing.assert_allclose(
        norm(x, use_running_average=False), normalized(x), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(nnx.view(norm, use_running_average=True)(x), norm(x))


@pytest.mark.parametrize("momentum", [0, 1])
def test_momentum_at_its_ends(momentum):
    norm = BatchNorm(3, momentum=momentum, rngs=nnx.Rngs(0))
    x = normal(4, 3)
    norm(jnp.asarray(x))
    want = (0, 1) if momentum else (x.mean(0), x.var(0))
    np.testing.assert_allclose(norm.mean[...], np.broadcast_to(want[0], 3), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], np.broadcast_to(want[1], 3), rtol=1e-5)


def test_evaluation_takes_one_example_without_a_batch_axis():
    norm = BatchNorm(3, rngs=nnx.Rngs(0))
    norm(jnp.asarray(normal(8, 3, mean=2)))
    norm.eval()
    x = jnp.asarray(normal(5, 3))
    np.testing.assert_allclose(jax.vmap(norm)(x), norm(x), rtol=1e-6)


def bad_call(*args, use_running_average: bool | None = False):
    norm = BatchNorm(3, use_running_average=None, rngs=nnx.Rngs(0))
    return inspect.unwrap(BatchNorm.__call__)(norm, *args, use_running_average)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: BatchNorm(0, rngs=nnx.Rngs(0)),
            "num_features must be at least 1, got 0",
        ),
        (
            lambda: BatchNorm(3, momentum=1.1, rngs=nnx.Rngs(0)),
            r"momentum .*\[0, 1\].* 1.1",
        ),
        (lambda: BatchNorm(3, epsilon=-1.0, rngs=nnx.Rngs(0)), "epsilon .* got -1.0"),
        (
            lambda: bad_call(jnp.ones((2, 3)), use_running_average=None),
            "use_running_average must be given to the layer or to its call",
        ),
        (
            lambda: bad_call(jnp.ones((2, 3), int)),
            r"x must be floating, got int32\[2, 3\]",
        ),
        (lambda: bad_call(jnp.ones((2, 4))), r"num_features=3 .*got shape \[2, 4\]"),
        (lambda: bad_call(jnp.ones(())), r"num_features=3 .*got shape \[\]"),
        (lambda: bad_call(jnp.ones(3)), r"batch of examples .*got shape \[3\]"),
        (lambda: bad_call(jnp.ones((0, 3))), r"batch of examples .*got shape \[0, 3\]"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_unbiased_variance_of_two_and_of_one():
    for rows, want in (([[1.0], [4.0]], 4.5), ([[3.0]], 0.0)):
        norm = BatchNorm(1, momentum=0.0, unbiased=True, rngs=nnx.Rngs(0))
        norm(jnp.array(rows))
        np.testing.assert_allclose(norm.var[...], [want], atol=1e-6)


@pytest.mark.parametrize("groups", [None, [[0, 1], [2, 3]]])
def test_the_unbiased_variance_counts_the_examples_of_all_devices(groups):
    x = normal(4, 3, 2)
    options = {"axis_name": "device", "axis_index_groups": groups}
    norm = BatchNorm(2, momentum=0.0, unbiased=True, **options, rngs=nnx.Rngs(0))
    graph, state = nnx.split(norm)

    def of_device(x):
        here = nnx.merge(graph, state, copy=True)
        here(x)
        return here.var[...]

    got = jax.pmap(of_device, axis_name="device", devices=jax.devices()[:4])(x)
    for device, var in enumerate(got):
        together = slice(None) if groups is None else groups[device // 2]
        want = x[together].reshape(-1, 2).var(axis=0, ddof=1)
        np.testing.assert_allclose(var, want, rtol=1e-5)


def test_without_scale_and_bias_it_only_normalizes():
    x = normal(6, 3)
    norm = BatchNorm(3, use_scale=False, use_bias=False, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(norm(jnp.asarray(x)), normalized(x), rtol=1e-4, atol=1e-5)


def test_a_correction_is_a_factor_and_a_shift_before_scale_and_bias():
    """As batch renormalisation hands them in."""
    norm = BatchNorm(3, scale_init=nnx.initializers.constant(2.0), rngs=nnx.Rngs(0))
    norm.bias[...] += 7.0
    x = normal(6, 3)
    mean, var = x.mean(0, keepdims=True), x.var(0, keepdims=True)
    got = norm._normalize(*map(jnp.asarray, (x, mean, var)), r=0.5, d=0.25)
    np.testing.assert_allclose(got, 2 * (0.5 * normalized(x) + 0.25) + 7, rtol=1e-5)
