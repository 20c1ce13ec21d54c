"""Clipping: bounds, directions, and what happens to NaN and infinity."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import TOLERANCE, assert_close, assert_link_follows, dtypes, noise

import optix_tricks as ot

NAN, INF = float("nan"), float("inf")
ALL = [ot.clip, ot.clip_by_norm, ot.clip_by_block_rms, ot.clip_by_global_norm]


def once(tx, grads):
    """The updates of a first step, and the state after it."""
    return tx.update(grads, tx.init(grads))


def by_norm(gs, max_norm):
    """Pascanu et al. 2013, algorithm 1: only a norm above the bound is cut to it."""
    norms = np.array([np.linalg.norm(g.ravel()) for g in gs])
    factors = np.array([1.0 if n <= max_norm else max_norm / n for n in norms])
    return gs * factors.reshape(-1, *[1] * (gs.ndim - 1))


@dtypes
@pytest.mark.parametrize("max_delta", [0.01, 0.7, 100.0, INF])
def test_clip_cuts_each_element(max_delta, dtype):
    def formula(gs, ws, max_delta):
        return np.where(np.abs(gs) > max_delta, np.sign(gs) * max_delta, gs)

    assert_link_follows(ot.clip, formula, {"max_delta": max_delta}, dtype, steps=20)


@dtypes
@pytest.mark.parametrize("max_norm", [0.01, 4.5, 100.0, INF])
@pytest.mark.parametrize("make", [ot.clip_by_norm, ot.clip_by_global_norm])
def test_one_array_is_cut_to_its_norm(make, max_norm, dtype):
    assert_link_follows(
        make,
        lambda gs, ws, max_norm: by_norm(gs, max_norm),
        {"max_norm": max_norm},
        dtype,
        steps=20,
    )


@dtypes
@pytest.mark.parametrize("threshold", [0.01, 1.0, 100.0, INF])
def test_one_array_is_cut_to_its_root_mean_square(threshold, dtype):
    def formula(gs, ws, threshold):
        rms = np.sqrt(np.mean(gs**2, axis=(1, 2), keepdims=True))
        return np.where(rms > threshold, gs * (threshold / rms), gs)

    arguments = {"threshold": threshold}
    assert_link_follows(ot.clip_by_block_rms, formula, arguments, dtype, steps=20)


def test_the_root_mean_square_bounds_a_norm_that_grows_with_the_size():
    g = {"a": jnp.full((2, 2), 5.0), "b": jnp.full(100, 5.0), "c": jnp.full(3, 0.5)}
    updates, state = once(ot.clip_by_block_rms(2.0), g)
    same, _ = once(ot.clip_by_norm(2.0 * 100**0.5), {"b": g["b"]})
    np.testing.assert_allclose(updates["a"], 2.0, rtol=1e-6)
    np.testing.assert_allclose(updates["b"], same["b"], rtol=1e-6)
    np.testing.assert_array_equal(updates["c"], g["c"])
    assert float(state.clip_factor["b"]) == pytest.approx(0.4)


@dtypes
@pytest.mark.parametrize("max_norm", [0.01, 3.0, 100.0])
def test_several_arrays_are_cut_together_to_their_global_norm(max_norm, dtype):
    shapes = [(2, 3), (7,), ()]
    gs = [noise(i, *shape) for i, shape in enumerate(shapes)]
    with jax.enable_x64(dtype == "float64"):
        tree = [jnp.array(g, dtype) for g in gs]
        updates, state = once(ot.clip_by_global_norm(max_norm), tree)
        got = np.concatenate([np.asarray(u, np.float64).ravel() for u in updates])
        flat = np.concatenate([g.ravel() for g in gs])
        bound = float(np.dtype(dtype).type(max_norm))
        assert_close(got[None], by_norm(flat[None], bound), TOLERANCE[dtype])
        norm = np.linalg.norm(flat)
        assert float(state.global_norm) == pytest.approx(norm, rel=TOLERANCE[dtype])
        factor = min(1.0, bound / norm)
        assert float(state.clip_factor) == pytest.approx(factor, rel=TOLERANCE[dtype])


def test_each_layer_is_cut_by_itself():
    grads = {"long": jnp.full(4, 50.0), "short": jnp.full(4, 0.1)}
    updates, state = once(ot.clip_by_norm(1.0), grads)
    np.testing.assert_allclose(updates["long"], 0.5, rtol=1e-6)
    np.testing.assert_array_equal(updates["short"], grads["short"])
    assert float(state.clip_factor["long"]) == pytest.approx(0.01)
    assert float(state.clip_factor["short"]) == 1.0


def test_masked_leaves_neither_count_nor_are_cut():
    grads = {"kernel": jnp.full((1, 4), 5.0), "bias": jnp.full(3, 1e6)}
    updates, state = once(ot.clip_by_global_norm(1.0, mask=ot.no_bias_or_norm), grads)
    assert float(state.global_norm) == pytest.approx(10.0)
    np.testing.assert_allclose(updates["kernel"], 0.5, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], grads["bias"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("make", ALL)
def test_gradients_of_zero_stay_zero(make, dtype):
    updates, _ = once(make(1.0), {"a": jnp.zeros(3, dtype), "b": jnp.zeros(2, dtype)})
    assert all((u == 0).all() for u in updates.values())


@pytest.mark.parametrize("make", [ot.clip_by_norm, ot.clip_by_global_norm])
def test_float16_squares_that_overflow_do_not_make_the_norm_infinite(make):
    """Four values of 200: the squares' sum is 160,000, float16 ends at 65,504."""
    updates, state = once(make(1.0), jnp.full(4, 200.0, jnp.float16))
    np.testing.assert_allclose(updates, 0.5, rtol=1e-3)
    assert float(state.clip_factor) == pytest.approx(1 / 400)


def test_float16_squares_that_overflow_do_not_make_the_mean_square_infinite():
    updates, _ = once(ot.clip_by_block_rms(1.0), jnp.full(4, 400.0, jnp.float16))
    np.testing.assert_array_equal(updates, 1.0)


def test_clip_keeps_nan_and_bounds_infinity():
    updates, _ = once(ot.clip(2.0), jnp.array([NAN, INF, -INF, 0.5]))
    np.testing.assert_array_equal(updates, [NAN, 2.0, -2.0, 0.5])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("bound", [1.0, INF])
@pytest.mark.parametrize("make", [ot.clip_by_norm, ot.clip_by_block_rms])
def test_one_bad_element_makes_its_layer_nan_and_no_other(make, bound, bad):
    grads = {"bad": jnp.array([bad, 1.0]), "good": jnp.array([0.6, 0.0])}
    updates, state = once(make(bound), grads)
    assert jnp.isnan(updates["bad"]).all()
    assert jnp.isnan(state.clip_factor["bad"])
    np.testing.assert_array_equal(updates["good"], grads["good"])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("max_norm", [1.0, INF])
def test_one_bad_element_makes_every_update_nan_under_a_global_norm(bad, max_norm):
    grads = {"bad": jnp.array([bad, 1.0]), "good": jnp.array([0.6, 0.0])}
    updates, state = once(ot.clip_by_global_norm(max_norm), grads)
    assert all(jnp.isnan(u).all() for u in updates.values())
    assert not jnp.isfinite(state.global_norm)


# XLA on a CPU flushes subnormal products to zero.
finite = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)
gradients = st.lists(finite, min_size=5, max_size=5).map(np.float32)
bounds = st.floats(0.015625, 128.0, width=32)


@jax.jit
def all_four(g, bound):
    grads = {"a": g[:2], "b": g[2:]}
    return [once(make(bound), grads)[0] for make in ALL]


@hypothesis.given(g=gradients, bound=bounds)
def test_bounds_are_never_exceeded_by_more_than_a_rounding(g, bound):
    by_value, by_layer, by_block, together = all_four(g, bound)
    limit = bound * (1 + 1e-6)
    assert all(np.abs(u).max() <= bound for u in by_value.values())
    assert all(np.linalg.norm(u) <= limit for u in by_layer.values())
    assert all(np.mean(u**2) ** 0.5 <= limit for u in by_block.values())
    assert np.linalg.norm(np.concatenate([*together.values()])) <= limit


@hypothesis.given(g=gradients, bound=bounds)
def test_directions_are_kept_and_nothing_grows(g, bound):
    _, by_layer, by_block, together = all_four(g, bound)
    pairs = [(by_layer["a"], g[:2]), (by_block["b"], g[2:])]
    pairs.append((np.concatenate([*together.values()]), g))
    for u, x in pairs:
        u, x = np.asarray(u, np.float64), np.asarray(x, np.float64)
        assert np.linalg.norm(u) <= np.linalg.norm(x) * (1 + 1e-6)
        cross = np.outer(u, x) - np.outer(x, u)
        assert np.abs(cross).max() <= 1e-6 * np.linalg.norm(u) * np.linalg.norm(x) + 1e-30


@hypothesis.given(g=gradients, room=st.floats(1.000001, 10.0))
def test_what_is_inside_the_bound_is_untouched(g, room):
    bound = np.float32(room * np.linalg.norm(np.float64(g)) + 1e-6)
    for updates in all_four(g, bound):
        np.testing.assert_array_equal(np.concatenate([*updates.values()]), g)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (ot.clip, "max_delta"),
        (ot.clip_by_norm, "max_norm"),
        (ot.clip_by_block_rms, "threshold"),
        (ot.clip_by_global_norm, "max_norm"),
    ],
)
@pytest.mark.parametrize("value", [0.0, -1.0, NAN])
def test_a_bound_that_is_not_positive_is_refused_by_name(make, name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive, got {value}"):
        make(value)


@pytest.mark.parametrize("make", ALL)
def test_a_mask_of_another_structure_is_refused(make):
    with pytest.raises(ValueError, match="mask must be a tree of bools shaped like"):
        make(1.0, mask={"a": True}).init({"b": jnp.ones(2)})


def loss_after_a_spike(tx, spike):
    """Half the square of a parameter after 50 noisy steps, one gradient a spike."""
    gs = 0.1 * noise(8, 50, 3, mean=0.0)

    def step(carry, t_and_g):
        w, state = carry
        t, g = t_and_g
        g = jnp.where(t == 10, spike, 1.0) * (w + g)
        updates, state = tx.update(g, state, w)
        return (optax.apply_updates(w, updates), state), None

    w = jnp.ones(3)
    xs = (jnp.arange(50), jnp.float32(gs))
    (w, _), _ = jax.lax.scan(step, (w, tx.init(w)), xs)
    return float(jnp.sum(w**2) / 2)


@pytest.mark.parametrize("clipping", ALL)
def test_clipping_saves_a_run_from_a_spike(clipping):
    rescued = loss_after_a_spike(optax.chain(clipping(1.0), ot.sgd(0.1)), 1e8)
    assert rescued < 0.1 < loss_after_a_spike(ot.sgd(0.1), 1e8)


def test_clipping_changes_nothing_in_a_run_without_spikes():
    clipped = optax.chain(ot.clip_by_global_norm(10.0), ot.sgd(0.1))
    assert loss_after_a_spike(clipped, 1.0) == loss_after_a_spike(ot.sgd(0.1), 1.0)


def test_clipping_does_nothing_for_adam_at_a_constant_scale():
    """A factor that is the same at each step is divided out again."""
    gs = jnp.float32(noise(9, 30, 3))
    gs = 10 * gs / jnp.linalg.norm(gs, axis=1, keepdims=True)
    plain, cut = ot.adam(0.1, eps=0.0), ot.clip_by_global_norm(0.1)
    for_plain, for_cut = plain.init(gs[0]), optax.chain(cut, plain).init(gs[0])
    for g in gs[:5]:
        u, for_plain = plain.update(g, for_plain)
        v, for_cut = optax.chain(cut, plain).update(g, for_cut)
        np.testing.assert_allclose(u, v, rtol=1e-5, atol=1e-6)


def test_the_root_mean_square_of_one_number_is_its_size():
    tx, g = ot.clip_by_block_rms(0.5), jnp.array([3.0])
    np.testing.assert_allclose(tx.update(g, tx.init(g))[0], [0.5], rtol=1e-6)
