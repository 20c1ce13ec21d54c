"""Dropout and DropPath, which share the check of the rate and the streams of keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType

from optix_tricks.layers import Dropout, DropPath, stochastic_depth_rates

KEY = jax.random.key(3)
BOTH = pytest.mark.parametrize("layer", [Dropout, DropPath])


def features(shape=(16, 3, 4), dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(0).uniform(0.5, 2, shape), dtype)


def kept(layer, key, rate, shape):
    return np.asarray(layer(rate)(jnp.ones(shape), rngs=key)) != 0


@BOTH
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_each_value_is_dropped_or_scaled(layer, rate, dtype):
    x = features(dtype=dtype)
    y = layer(rate)(x, rngs=KEY)
    assert y.dtype == dtype
    mask = kept(layer, KEY, rate, x.shape)
    wide = np.asarray(x, np.float64) / (1 - rate)
    close = 2 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(y.astype(float), np.where(mask, wide, 0), rtol=close)


def test_examples_are_dropped_whole_and_independently():
    mask = kept(DropPath, KEY, 0.3, (20_000, 2, 3))
    assert (mask == mask[:, :1, :1]).all()
    row = mask[:, 0, 0]
    five_errors = 5 * np.sqrt(0.3 * 0.7 / 20_000)
    assert row.mean() == pytest.approx(0.7, abs=five_errors)
    for lag in (1, 2, 7):
        both = (row[lag:] & row[:-lag]).mean()
        assert both == pytest.approx(0.49, abs=5 * np.sqrt(0.49 * 0.51 / 10_000))


def test_dropout_is_independent_of_place():
    draw = jax.vmap(lambda key: Dropout(0.3)(jnp.ones(40), rngs=key))
    mask = np.asarray(draw(jax.random.split(KEY, 400))) != 0
    chi_square = ((mask.sum(0) - 280) ** 2 / (400 * 0.7 * 0.3)).sum()
    assert chi_square < 73.4  # 40 degrees of freedom, p = 0.001
    correlation = np.corrcoef(mask.T) - np.eye(40)
    assert np.abs(correlation).max() < 5 / np.sqrt(400)


@BOTH
def test_the_mean_over_masks_is_the_input(layer):
    x, rate, masks = features((2, 3)), 0.4, 4000
    drop = layer(rate)
    y = jax.vmap(lambda key: drop(x, rngs=key))(jax.random.split(KEY, masks))
    standard_error = x * np.sqrt(rate / (1 - rate) / masks)
    assert (np.abs(jnp.mean(y, axis=0) - x) < 5 * standard_error).all()


@BOTH
def test_rate_zero_and_evaluation_are_the_identity_without_a_key(layer):
    x = features()
    np.testing.assert_array_equal(layer(0.0)(x), x)
    np.testing.assert_array_equal(layer(0.5)(x, deterministic=True), x)
    drop = layer(0.5, rngs=nnx.Rngs(0))
    drop.eval()
    np.testing.assert_array_equal(drop(x), x)
    assert drop.rngs.count[...] == 0
    drop.train()
    assert (drop(x) == 0).any()
    np.testing.assert_array_equal(nnx.view(drop, deterministic=True)(x), x)


@BOTH
def test_keys_come_from_the_call_or_from_the_stream(layer):
    x = features((64, 2))
    drop = layer(0.5, rngs=nnx.Rngs(dropout=1))
    first, second = drop(x), drop(x)
    assert (first != second).any()
    again = layer(0.5, rngs=nnx.Rngs(dropout=1))
    np.testing.assert_array_equal(again(x), first)
    np.testing.assert_array_equal(again(x), second)
    by_key = drop(x, rngs=KEY)
    np.testing.assert_array_equal(drop(x, rngs=KEY), by_key)
    stream = nnx.Rngs(dropout=5).dropout
    np.testing.assert_array_equal(drop(x, rngs=stream), drop(x, rngs=nnx.Rngs(dropout=5)))
    other = layer(0.5, rng_collection="paths", rngs=nnx.Rngs(paths=1, dropout=2))
    assert (other(x) == 0).any()
    with pytest.raises(ValueError, match="no `rngs` argument"):
        layer(0.5)(x)


def test_dropout_is_that_of_flax():
    x = features()
    ours = Dropout(0.3, broadcast_dims=(1,), rngs=nnx.Rngs(0))
    theirs = nnx.Dropout(0.3, broadcast_dims=(1,), rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(ours(x), theirs(x))


class Net(nnx.Module):
    def __init__(self, rates, rngs):
        self.blocks = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in rates])
        self.paths = nnx.List([DropPath(rate, rngs=rngs) for rate in rates])

    def __call__(self, x):
        for block, path in zip(self.blocks, self.paths, strict=True):
            x = x + path(nnx.tanh(block(x)))
        return x


def test_the_gradient_of_a_dropped_branch_is_zero_and_of_the_others_scaled():
    """Example by example, by the compiled pure function of a net of one branch."""
    net, x = Net((0.5,), nnx.Rngs(1)), features((16, 4))
    graph, params, rest = nnx.split(net, nnx.Param, ...)

    @jax.jit
    def gradients(params, rest):
        def total(params, x, i):
            return jnp.sum(nnx.merge(graph, params, rest, copy=True)(x)[i])

        by_example = jax.vmap(jax.grad(total), (None, None, 0))
        return by_example(params, x, jnp.arange(16)).blocks[0].kernel[...]

    found = gradients(params, rest)
    mask = np.asarray(net(x) != x).any(-1)
    assert 3 <= mask.sum() <= 13
    plain = net.blocks[0]
    slope = 1 - np.tanh(np.asarray(plain(x), np.float64)) ** 2
    want = 2 * mask[:, None, None] * np.einsum("bi,bj->bij", x, slope)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)


def test_the_state_of_the_stream_goes_on_under_jit():
    net, x = Net((0.5, 0.5), nnx.Rngs(1)), features((16, 4))
    graph, params, rest = nnx.split(net, nnx.Param, ...)

    @jax.jit
    def step(rest):
        model = nnx.merge(graph, params, rest, copy=True)
        return model(x), nnx.state(model, nnx.RngState)

    for _ in range(3):
        y, rest = step(rest)
        np.testing.assert_allclose(y, net(x), rtol=1e-5, atol=1e-6)
    assert step._cache_size() == 1


def test_infinite_branches_are_dropped_too():
    """As overflows of half precision are: zero times infinity would be NaN."""
    x = jnp.full((64, 2), jnp.inf)
    y = DropPath(0.5)(x, rngs=KEY)
    assert set(np.unique(y)) == {0, np.inf}


@pytest.mark.parametrize("shape", [(5,), (5, 1), (0, 3), (3, 0), (2, 3, 4, 5, 6)])
def test_every_rank_but_a_scalar(shape):
    assert DropPath(0.5)(jnp.ones(shape), rngs=KEY).shape == shape
    with pytest.raises(ValueError, match="batch as first axis, got a scalar"):
        DropPath(0.5)(jnp.ones(()), rngs=KEY)


@BOTH
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharding_changes_nothing(layer, axis_type):
    x = features()
    call = jax.jit(lambda x: layer(0.5)(x, rngs=KEY))
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    split = jax.device_put(x, jax.NamedSharding(mesh, jax.P("batch")))
    with jax.set_mesh(mesh):
        y = call(split)
    np.testing.assert_array_equal(y, call(x))


@BOTH
@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_outside_raises(layer, rate):
    with pytest.raises(ValueError, match=r"rate must be (in \[0, 1\)|a finite number)"):
        layer(rate, rngs=nnx.Rngs(0))


@given(st.integers(1, 200), st.floats(0, 0.99))
def test_rates_grow_linearly_to_the_last(num_blocks, final_rate):
    rates = stochastic_depth_rates(num_blocks, final_rate)
    assert len(rates) == num_blocks
    assert rates[-1] == pytest.approx(final_rate, rel=1e-15)
    np.testing.assert_allclose(np.diff((0.0, *rates)), final_rate / num_blocks, 1e-9)


def test_the_expected_depth_is_that_of_the_paper():
    """With a final rate of 0.5 and 54 blocks, 40 are left: (3 L - 1) / 4."""
    rates = stochastic_depth_rates(54, 0.5)
    assert sum(1 - rate for rate in rates) == pytest.approx((3 * 54 - 1) / 4)


def test_bad_depths_raise():
    with pytest.raises(ValueError, match="num_blocks must be at least 1, got 0"):
        stochastic_depth_rates(0, 0.5)
    with pytest.raises(ValueError, match=r"final_rate must be in \[0, 1\), got 1\.0"):
        stochastic_depth_rates(4, 1.0)
