"""Stochastic rounding: only neighbours, right on average, and every small step counts."""

import chex
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import optix_tricks as ot
from optix_tricks.transforms._rounding import round_by_chance, round_to_nearest

NUMPY = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
KEY = jax.random.key(0)
dtypes = pytest.mark.parametrize("dtype", ["bfloat16", "float16"])


def neighbours(x, dtype):
    """The two numbers of a 16-bit dtype around each `x`, by NumPy; equal if it is one."""
    near = np.asarray(x, np.float64).astype(NUMPY[dtype])
    inf = NUMPY[dtype](np.inf)
    wide = near.astype(np.float64)
    below = np.where(wide > x, np.nextafter(near, -inf), near).astype(np.float64)
    above = np.where(wide < x, np.nextafter(near, inf), near).astype(np.float64)
    return below, above


def rounded(w, u, key=KEY):
    tx = ot.round_stochastically(key)
    updates, _ = tx.update(u, tx.init(w), w)
    return optax.apply_updates(w, updates)


POINTS = {
    "bfloat16": [0.999, 1.001, -3.14159, 1e-30, -7e20, 255.9, 0.0, 2.0**-7 + 2.0**-15],
    "float16": [0.9999, -1.0003, 3.14159, 1e-7, -3.3e-5, 2e-8, 0.0, 2047.3, 6.1e-5],
}


@dtypes
def test_only_neighbours_appear_and_their_mean_is_the_sum(dtype):
    """40,000 draws of each; the mean within five of its standard errors."""
    x = np.float32(POINTS[dtype])
    w = jnp.tile(jnp.asarray(x, dtype), (40_000, 1))
    u = jnp.float32(x)[None] - w.astype(jnp.float32)
    x = np.float64(w[0].astype(jnp.float32) + u[0])
    got = np.float64(rounded(w, u))
    below, above = neighbours(x, dtype)
    assert ((got == below) | (got == above)).all()
    share = np.divide(x - below, above - below, where=above > below, out=np.zeros_like(x))
    error = (above - below) * np.sqrt(share * (1 - share) / len(got))
    assert (np.abs(got.mean(0) - x) <= 5 * error).all()
    inside = (share > 0.01) & (share < 0.99)
    assert inside.sum() >= 5
    assert ((got == below).any(0) & (got == above).any(0))[inside].all()


@dtypes
def test_over_all_chances_the_mean_is_exact(dtype):
    """65,536 chances, each once: sums of these numbers are exact in float64."""
    chances = jnp.arange(1 << 16, dtype=jnp.uint32)
    for x in (0.7001, -1.4142135, 300.123):
        xs = jnp.full(1 << 16, x, jnp.float32)
        mean = np.float64(round_by_chance(xs, jnp.dtype(dtype), chances)).mean()
        assert mean == np.float64(np.float32(x))


@dtypes
def test_a_zero_update_changes_no_parameter(dtype):
    """All finite numbers but bfloat16's subnormal ones, which XLA flushes."""
    w = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(NUMPY[dtype])
    w = w[np.isfinite(w.astype(np.float32))]
    if dtype == "bfloat16":
        w = w[(np.abs(w.astype(np.float32)) >= np.finfo(np.float32).tiny) | (w == 0)]
    updates, _ = jax.jit(ot.round_stochastically(KEY).update)(
        jnp.zeros(w.shape), ot.round_stochastically(KEY).init(w), jnp.asarray(w)
    )
    np.testing.assert_array_equal(updates, 0)


def walk(tx, w, steps):
    def step(carry, _):
        w, state = carry
        updates, state = tx.update(jnp.ones_like(w), state, w)
        return (optax.apply_updates(w, updates), state), None

    return jax.jit(lambda w: jax.lax.scan(step, (w, tx.init(w)), length=steps)[0])(w)


@pytest.mark.parametrize(("dtype", "rate"), [("bfloat16", 1e-3), ("float16", 1e-4)])
def test_steps_below_half_a_unit_get_on(dtype, rate):
    """500 steps from 1; each adds at most half a unit, 2^-9 or 2^-12, of noise."""
    w = jnp.ones(2000, dtype)
    plain, _ = walk(ot.sgd(rate), w, 500)
    assert (plain == 1).all()
    tx = optax.chain(ot.sgd(rate), ot.round_stochastically(KEY))
    got, _ = walk(tx, w, 500)
    got, want = np.float64(got), 1 - 500 * rate
    half_unit = {"bfloat16": 2.0**-9, "float16": 2.0**-12}[dtype]
    deviation = half_unit * np.sqrt(500)
    # The learning rate reaches it in 16 bits too: 1e-3 is 0.0010004 in float16.
    assert abs(got.mean() - want) < 5 * deviation / np.sqrt(2000) + 2e-3 * 500 * rate
    assert 0 < got.std() < deviation


@dtypes
def test_steps_of_whole_units_are_taken_without_chance(dtype):
    w = jnp.asarray([1.0, -2.0, 0.5], dtype)
    u = jnp.asarray([0.5, -1.0, 0.25], dtype)
    np.testing.assert_array_equal(rounded(w, u), w + u)


@dtypes
@pytest.mark.parametrize("u", [jnp.nan, jnp.inf, -jnp.inf])
def test_what_is_not_finite_passes(dtype, u):
    got = rounded(jnp.ones(1000, dtype), jnp.full(1000, u))
    np.testing.assert_array_equal(np.float32(got), u)


def test_beyond_the_largest_number_the_neighbour_is_infinity():
    w = jnp.full(4000, 65504.0, jnp.float16)
    got = np.float32(rounded(w, jnp.full(4000, 8.0)))
    assert set(got) == {65504.0, np.inf}
    assert (got == np.inf).mean() == pytest.approx(0.25, abs=0.05)


def test_wide_parameters_take_their_updates_and_all_leave_in_float32():
    w = {"wide": jnp.ones(3), "narrow": jnp.ones(3, jnp.float16), "none": None}
    u = jax.tree.map(lambda x: jnp.full(3, 0.3, jnp.bfloat16), w)
    tx = ot.round_stochastically(KEY)
    updates, _ = tx.update(u, tx.init(w), w)
    np.testing.assert_array_equal(updates["wide"], np.float32(u["wide"]))
    assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype("float32")}


def test_masked_leaves_take_their_updates():
    w = {"kernel": jnp.ones((50, 2), jnp.bfloat16), "bias": jnp.ones(50, jnp.bfloat16)}
    u = jax.tree.map(lambda x: jnp.full(x.shape, -0.002), w)
    tx = ot.round_stochastically(KEY, mask=ot.no_bias_or_norm)
    for tree, grads in ((w, u), (ot.pack(w), ot.pack_like(u, ot.pack(w)))):
        updates, _ = tx.update(grads, tx.init(tree), tree)
        updates = ot.unpack(updates) if tree is not w else updates
        np.testing.assert_array_equal(updates["bias"], u["bias"])
        assert set(np.float32(updates["kernel"]).ravel()) == {0.0, -(2.0**-8)}


def test_a_restored_state_goes_on_as_the_run_would_have():
    tx = optax.chain(ot.sgd(1e-3), ot.round_stochastically(KEY))
    w = {"a": jnp.ones(50, jnp.bfloat16)}
    whole, _ = walk_tree(tx, w, tx.init(w), 6)
    half, state = walk_tree(tx, w, tx.init(w), 3)
    state = jax.tree.map(jnp.array, state)
    chex.assert_trees_all_equal(walk_tree(tx, half, state, 3)[0], whole)


def walk_tree(tx, w, state, steps):
    for _ in range(steps):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, w), state, w)
        w = optax.apply_updates(w, updates)
    return w, state


def test_leaves_steps_and_keys_have_their_own_bits():
    w = {"a": jnp.ones(64, jnp.bfloat16), "b": jnp.ones(64, jnp.bfloat16)}
    u = jax.tree.map(lambda x: jnp.full(64, 0.002), w)
    tx = ot.round_stochastically(KEY)
    first, state = tx.update(u, tx.init(w), w)
    again, _ = tx.update(u, tx.init(w), w)
    second, _ = tx.update(u, state, w)
    other, _ = ot.round_stochastically(jax.random.key(1)).update(u, tx.init(w), w)
    chex.assert_trees_all_equal(first, again)
    for one, two in (
        (first["a"], first["b"]),
        (first["a"], second["a"]),
        (first["a"], other["a"]),
    ):
        assert 10 < (one != two).sum() < 54  # of 64 that agree by chance half of the time


@dtypes
def test_the_state_is_stable_below_16_bit_parameters(dtype):
    w = {"a": jnp.ones((2, 3), dtype), "b": jnp.ones(3)}
    tx = ot.round_stochastically(KEY)
    state = tx.init(w)
    scanned = jax.lax.scan(lambda s, _: (tx.update(w, s, w)[1], 0), state, length=2)[0]
    chex.assert_trees_all_equal_shapes_and_dtypes(scanned, state)
    assert scanned.count == 2


def test_a_packed_tree_is_rounded_to_neighbours_too():
    w = ot.pack({"a": jnp.ones((50, 3), jnp.bfloat16), "b": jnp.ones(50, jnp.bfloat16)})
    got = rounded(w, jax.tree.map(lambda x: jnp.full(x.shape, -0.002), w))
    for buffer in got.buffers:
        assert set(np.float32(buffer)) == {1.0, 1 - 2.0**-8}


def test_parameters_are_needed():
    tx = ot.round_stochastically(KEY)
    with pytest.raises(ValueError, match="params must be given to round_stochastically"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_the_nearest_is_that_of_a_cast(dtype):
    """Of every size, subnormal numbers of float16 and ties between them too."""
    sizes = 2.0 ** np.random.default_rng(0).uniform(-26, 15, 500)
    x = np.concatenate([sizes, -sizes, np.arange(9) * 2.0**-25]).astype(np.float32)
    want = x.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(round_to_nearest(jnp.asarray(x), dtype), want)


def test_a_subnormal_number_that_fits_stays_whatever_the_chance():
    x = jnp.float32(3 * 2.0**-24)
    for chance in (0, 65535):
        got = round_by_chance(x[None], jnp.float16, jnp.full(1, chance, jnp.uint32))
        np.testing.assert_array_equal(got, x)
