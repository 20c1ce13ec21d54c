"""Slots in int8: what one rounding does, and what a thousand of them do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optix_tricks as ot
from optix_tricks._storage import BLOCK, Blocks, _weyl, as_stored, load, store

SHAPE = (40, 128)  # each row is a block
FLAT = (5120,)  # twenty blocks


def count(t):
    return jnp.asarray(t, jnp.int32)


def kept(x, t=1):
    return store(jnp.asarray(x), as_stored(jnp.zeros(x.shape), "int8"), count(t))


def levels():
    """The values that a block of largest magnitude 1 can hold, by the definition."""
    codes = np.arange(-127, 128)
    return np.sign(codes) * (np.abs(codes) / 127.0) ** 4


@pytest.mark.parametrize(("shape", "size"), [(SHAPE, 128), (FLAT, BLOCK)])
def test_a_value_goes_to_one_of_its_two_neighbours(shape, size):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    got = np.asarray(load(kept(x), jnp.float32), np.float64)
    for block, values in zip(got.reshape(-1, size), x.reshape(-1, size), strict=True):
        largest = np.abs(values).max()
        grid = levels() * largest
        above = np.searchsorted(grid, values * (1 - 1e-6 * np.sign(values)))
        low, high = grid[np.maximum(above - 1, 0)], grid[np.minimum(above, 254)]
        near = np.minimum(np.abs(block - low), np.abs(block - high))
        assert (near <= 2e-6 * largest).all()


def test_rounding_has_no_bias_over_the_steps():
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    steps = jnp.arange(4096)
    mean = jnp.mean(
        jax.lax.map(lambda t: load(kept(x, t), jnp.float32), steps, batch_size=64), axis=0
    )
    spacing = 4 / 127 * np.abs(x) ** 0.75 * np.abs(x).max() ** 0.25 + 1e-6
    assert np.max(np.abs(mean - x) / spacing) < 2e-3


def test_the_largest_of_a_block_is_exact_zero_is_zero_and_the_rest_is_not_zero():
    x = np.full(SHAPE, 1e-30, np.float32)
    x[:, 0], x[:, 1] = 3.7, 0.0
    got = np.asarray(load(kept(x), jnp.float32))
    assert (got[:, 0] == np.float32(3.7)).all()
    assert (got[:, 1] == 0).all()
    assert (got[:, 2:] > 0).all()
    assert (np.asarray(load(kept(-x), jnp.float32))[:, 2:] < 0).all()


def test_blocks_of_zeros_are_finite_and_nan_is_seen():
    x = np.zeros(SHAPE, np.float32)
    x[1, 3] = np.nan
    x[2, 5] = -np.inf
    got = np.asarray(load(kept(x), jnp.float32))
    assert np.isnan(got[1:3]).all()
    assert (got[[0, *range(3, 40)]] == 0).all()


@pytest.mark.parametrize("size", [4096, 4097, 5000])
def test_any_size_can_be_kept(size):
    x = np.random.default_rng(2).normal(size=size).astype(np.float32)
    slot = kept(x)
    assert isinstance(slot, Blocks)
    assert slot.codes.shape == (size,)
    assert slot.scales.shape == (-(-size // BLOCK),)
    assert np.abs(np.asarray(load(slot, jnp.float32)) - x).max() < 0.04 * np.abs(x).max()


@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        ((3, 3, 64, 64), (3, 3, 64)),
        ((40, 128), (40,)),
        ((2, 4096), (2,)),
        ((2, 4097), (33,)),  # an axis too long for one scale
        ((512, 10), (20,)),  # and one too short
        ((20, 250), (20,)),  # which flat blocks would have too: it is flat
    ],
)
def test_a_last_axis_is_a_block(shape, scales):
    x = np.random.default_rng(4).normal(size=shape).astype(np.float32)
    slot = kept(x)
    assert (slot.codes.shape, slot.scales.shape) == (shape, scales)
    of_rows = scales == shape[:-1] and shape != (20, 250)
    flat = np.pad(np.abs(x).ravel(), (0, -x.size % BLOCK)).reshape(-1, BLOCK)
    largest = np.abs(x).max(-1) if of_rows else flat.max(1)
    np.testing.assert_array_equal(slot.scales, largest)


def test_a_state_whose_blocks_do_not_follow_the_last_axis_is_refused():
    params = jnp.zeros(SHAPE)
    tx = ot.scale_by_adam(state_dtype="int8")
    state = tx.init(params)
    old = state._replace(mu=state.mu._replace(scales=jnp.zeros(20)))
    with pytest.raises(ValueError, match=r"\[40\], got \[20\]: the state is of an older"):
        tx.update(params, old)


def test_small_leaves_stay_float32():
    assert as_stored(jnp.zeros(4095), "int8").dtype == jnp.float32


def test_a_slow_average_is_not_frozen():
    """At decay 0.999 a step moves by less than the distance of two levels."""
    tx = ot.scale_by_adam(state_dtype="int8")
    shape = (64, 64)
    first = tx.init(jnp.zeros(shape))

    def step(state, t):
        g = jnp.where(t < 3, 1.0, 0.0) * jnp.linspace(0.1, 1.0, 4096).reshape(shape)
        return tx.update(g, state)[1], None

    state, _ = jax.lax.scan(step, first, jnp.arange(2003))
    g2 = np.linspace(0.1, 1.0, 4096) ** 2
    b2 = float(np.float32(0.999))
    true = g2 * (1 - b2**3) * b2**2000
    got = np.asarray(load(state.nu, jnp.float32), np.float64).ravel()
    assert abs(got.sum() / true.sum() - 1) < 0.02


def test_adam_keeps_at_most_two_point_two_bytes_a_parameter():
    params = {
        "a": jnp.zeros((3, 3, 64, 64)),
        "b": jnp.zeros((512, 10)),
        "c": jnp.ones(64),
    }
    state = ot.scale_by_adam(state_dtype="int8").init(params)
    size = sum(x.size for x in jax.tree.leaves(params))
    kept = sum(x.nbytes for x in jax.tree.leaves((state.mu, state.nu)))
    assert kept <= 2.2 * size


def test_a_first_value_is_rounded_to_the_nearer_level():
    x = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    got = np.asarray(load(as_stored(jnp.asarray(x), "int8"), jnp.float32))
    assert abs(np.abs(got).mean() / np.abs(x).mean() - 1) < 2e-3


@pytest.mark.parametrize("over", ["steps", "elements"])
def test_every_dither_is_met_once_in_two_to_the_sixteenth(over):
    """So that an average over them has no bias at all."""
    if over == "steps":
        met = jax.vmap(lambda t: _weyl(jnp.zeros(1), t)[0])(jnp.arange(2**16))
    else:
        met = _weyl(jnp.zeros(2**16), count(3))
    np.testing.assert_array_equal(np.sort(met), np.arange(2**16))
