"""AdaGrad in the form of the sum and in that of the mean of squares."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import (
    assert_link_follows,
    assert_optimiser_follows,
    dtypes,
    noise,
    updates_of,
)

import optix_tricks as ot


def divide(gs, ws, initial_accumulator_value=0.1, eps=1e-7, mean=False, eps_in_sqrt=True):
    """Duchi et al. 2011, diagonal; with `mean` the notes' sigma = sqrt(mean g^2)."""
    del ws
    square = initial_accumulator_value + np.cumsum(gs**2, axis=0)
    if mean:
        square = square / np.arange(1, len(gs) + 1).reshape(-1, *[1] * (gs.ndim - 1))
    return gs / (np.sqrt(square + eps) if eps_in_sqrt else np.sqrt(square) + eps)


def descend(gs, w, lr, **arguments):
    return w - lr * np.cumsum(divide(gs, None, **arguments), axis=0)


@dtypes
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"initial_accumulator_value": 0.0, "eps": 0.0},
        {"mean": True, "initial_accumulator_value": 0.0, "eps": 0.0},
        {"initial_accumulator_value": 0.0, "eps": 0.1, "eps_in_sqrt": False},
        {"mean": True, "initial_accumulator_value": 2.0, "eps": 0.1},
    ],
)
def test_it_divides_by_the_root_of_the_sum_or_mean_of_squares(arguments, dtype):
    assert_link_follows(ot.scale_by_rss, divide, arguments, dtype)


@dtypes
@pytest.mark.parametrize("mean", [False, True])
def test_adagrad_descends_by_it(mean, dtype):
    def make(lr, **rest):
        return ot.adagrad(lr, **rest)

    assert_optimiser_follows(make, descend, {"lr": 0.1, "mean": mean}, dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("options", [{}, {"mean": True}, {"eps_in_sqrt": False}])
def test_what_never_had_a_gradient_stands_still_without_eps(options, dtype):
    gs = jnp.zeros((3, 2), dtype).at[2, 0].set(-3.0)
    updates, _ = updates_of(ot.scale_by_rss(0.0, 0.0, **options), gs, gs)
    want = -jnp.sqrt(3.0) if "mean" in options else -1.0
    np.testing.assert_allclose(updates[2, 0], want, rtol=5e-3)
    assert (updates[:2] == 0).all()
    assert (updates[2, 1] == 0).all()


def test_float16_gradients_whose_squares_overflow_are_scaled():
    gs = jnp.full((3, 4), 3e4, jnp.float16)
    updates, _ = updates_of(ot.scale_by_rss(), gs, gs)
    np.testing.assert_allclose(updates[2], 3**-0.5, rtol=2e-3)


@pytest.mark.parametrize("state_dtype", [None, jnp.bfloat16])
def test_a_sum_goes_on_growing_where_bfloat16_would_stop(state_dtype):
    """At 256 a unit is half of bfloat16's spacing, and plain rounding loses it."""
    gs = jnp.ones((2000, 16), jnp.bfloat16)
    _, state = updates_of(ot.scale_by_rss(0.0, state_dtype=state_dtype), gs, gs)
    assert state.sum_of_squares.dtype == (state_dtype or jnp.float32)
    np.testing.assert_allclose(np.asarray(state.sum_of_squares, float), 2000, rtol=0.03)


@jax.jit
def scale_free_updates(gs):
    return updates_of(ot.scale_by_rss(0.0, 0.0), gs, gs)[0]


@hypothesis.given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 10**6))
def test_without_start_and_eps_the_scale_of_gradients_does_not_matter(scale, seed):
    gs = noise(seed, 6, 4)
    got, want = scale_free_updates(jnp.float32(scale * gs)), scale_free_updates(gs)
    np.testing.assert_allclose(got, want, rtol=3e-6)


@hypothesis.given(seed=st.integers(0, 10**6))
def test_no_update_is_longer_than_one(seed):
    scales = 10 ** np.random.default_rng(seed).uniform(-3, 3, (6, 4))
    updates = scale_free_updates(jnp.float32(noise(seed, 6, 4) * scales))
    assert (np.abs(updates) <= 1 + 1e-6).all()


@pytest.mark.parametrize("make", [ot.scale_by_rss, lambda **a: ot.adagrad(0.1, **a)])
@pytest.mark.parametrize("name", ["initial_accumulator_value", "eps"])
def test_arguments_out_of_range_are_refused_by_name(make, name):
    with pytest.raises(ValueError, match=f"{name} must be zero or positive, got -0.5"):
        make(**{name: -0.5})


def test_a_rare_feature_is_moved_as_far_as_a_frequent_one():
    """One is seen at each of 100 steps, the other at ten: SGD moves it a tenth as far."""
    seen = jnp.stack([jnp.ones(100), (jnp.arange(100) % 10 == 9).astype(float)], axis=1)
    tx = ot.scale_by_rss(0.0, 0.0)
    went = updates_of(tx, seen, seen)[0].sum(axis=0)
    assert went[1] > 0.25 * went[0]
    rates = updates_of(tx, seen, seen)[0][-1]
    np.testing.assert_allclose(rates, [0.1, 10**-0.5], rtol=1e-5)


def test_the_sum_lets_steps_die_and_the_mean_does_not():
    gs = jnp.ones((100, 1))
    dying, _ = updates_of(ot.scale_by_rss(0.0, 0.0), gs, gs)
    steady, _ = updates_of(ot.scale_by_rss(0.0, 0.0, mean=True), gs, gs)
    np.testing.assert_allclose(dying[:, 0], np.arange(1, 101) ** -0.5, rtol=1e-6)
    np.testing.assert_allclose(steady, 1, rtol=1e-6)
