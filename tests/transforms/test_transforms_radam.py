"""RAdam against the paper, Optax and PyTorch, and its count of averaged gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import (
    assert_link_follows,
    assert_optimiser_follows,
    dtypes,
    noise,
    updates_of,
)

import optix_tricks as ot
from optix_tricks.transforms._radam import averaged_steps


def averaged(b2, t):
    """rho_t = 2 (mean age) - 1: a sum of positive terms, where nothing cancels."""
    weights = b2 ** np.arange(t)
    return 2 * np.sum(weights * np.arange(1, t + 1)) / np.sum(weights) - 1


def direction(
    gs, ws, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, threshold=5.0, nesterov=False
):
    """Liu et al. 2020, algorithm 2; with the paper's threshold of 4, or 5."""
    del ws
    m, v, out = 0.0, 0.0, []
    full = 2 / (1 - b2) - 1
    for t, g in enumerate(gs, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        mean = m / (1 - b1**t)
        if nesterov:
            mean = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        rho = averaged(b2, t)
        if rho > threshold:
            r = (rho - 4) * (rho - 2) * full / ((full - 4) * (full - 2) * rho)
            mean = np.sqrt(r) * mean / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)
        out.append(mean)
    return np.array(out)


@dtypes
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"b1": 0.0, "threshold": 4.0},
        {"b1": 0.5, "b2": 0.9, "eps": 0.1, "eps_root": 1e-2},
        {"b2": 0.5},
        {"b2": 0.99, "threshold": 20.0, "nesterov": True, "eps": 0.1, "eps_root": 1e-2},
    ],
)
def test_the_direction_is_that_of_the_paper(arguments, dtype):
    assert_link_follows(ot.scale_by_radam, direction, arguments, dtype)


@dtypes
def test_radam_descends_by_it(dtype):
    def make(lr, **rest):
        return ot.radam(lr, **rest)

    def formula(gs, w, lr, **rest):
        return w - lr * np.cumsum(direction(gs, None, **rest), axis=0)

    assert_optimiser_follows(make, formula, {"lr": 0.1, "b2": 0.9}, dtype)


@pytest.mark.parametrize("nesterov", [False, True])
def test_it_goes_the_way_of_optax_for_long(nesterov):
    gs = jnp.float32(noise(1, 300, 8))
    got, _ = updates_of(ot.scale_by_radam(0.9, 0.99, nesterov=nesterov), gs, gs)
    want, _ = updates_of(optax.scale_by_radam(0.9, 0.99, nesterov=nesterov), gs, gs)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)


@dtypes
@pytest.mark.parametrize("b2", [0.0, 0.5, 0.9, 0.99, 0.999, 0.99999])
def test_the_number_of_averaged_steps_does_not_cancel(b2, dtype):
    """The direct form is off by 1e-4 in float32 for 0.999, by a gradient for 0.99999."""
    with jax.enable_x64(dtype == "float64"):
        b2 = np.dtype(dtype).type(b2)
        t = np.array([1, 2, 5, 6, 20, 99, 100, 101, 1000, 20000])
        got = jax.vmap(averaged_steps, (None, 0))(jnp.array(b2), jnp.array(t))
        want = [averaged(np.float64(b2), n) for n in t]
        np.testing.assert_allclose(got, want, rtol=30 * np.finfo(dtype).eps)


def test_the_rectification_is_reported_and_goes_to_one():
    gs = jnp.ones((400, 1))
    tx = ot.scale_by_radam(b2=0.9)

    def step(state, g):
        _, state = tx.update(g, state)
        return state, ot.report(state)["rectification"]

    _, r = jax.lax.scan(step, tx.init(gs[0]), gs)
    moved_alone = np.array([averaged(0.9, t) < 5 for t in range(1, 401)])
    assert ((r == 0) == moved_alone).all()
    assert (jnp.diff(r) >= -1e-6).all()
    np.testing.assert_allclose(r[-1], 1, rtol=1e-6)


def test_a_threshold_below_four_acts_as_four():
    gs = jnp.float32(noise(1, 10, 3))
    low, _ = updates_of(ot.scale_by_radam(threshold=0.0), gs, gs)
    four, _ = updates_of(ot.scale_by_radam(threshold=4.0), gs, gs)
    np.testing.assert_array_equal(low, four)
    assert jnp.isfinite(low).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_zero_gradients_give_zero_in_low_precision(dtype):
    gs = jnp.zeros((10, 4), dtype)
    assert (updates_of(ot.scale_by_radam(), gs, gs)[0] == 0).all()


@pytest.mark.parametrize("make", [ot.scale_by_radam, lambda **a: ot.radam(0.1, **a)])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("b1", 1.0),
        ("b2", -0.1),
        ("eps", -1e-8),
        ("eps_root", -1.0),
        ("threshold", -1.0),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(make, name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        make(**{name: value})


def test_the_first_steps_are_in_proportion_to_gradients_where_adams_are_signs():
    gs = 1e-4 * jnp.float32(noise(1, 8, 6))
    adam, _ = updates_of(ot.scale_by_adam(), gs, gs)
    ours, _ = updates_of(ot.scale_by_radam(), gs, gs)
    np.testing.assert_allclose(jnp.abs(adam[0]), 1, rtol=1e-3)
    np.testing.assert_allclose(ours[0], gs[0], rtol=1e-5)
    np.testing.assert_allclose(
        ours[:5], updates_of(ot.ema(0.9), gs, gs)[0][:5], rtol=1e-5
    )


def test_in_the_end_it_is_adam():
    gs = jnp.float32(noise(1, 400, 6))
    adam, _ = updates_of(ot.scale_by_adam(b2=0.9), gs, gs)
    ours, _ = updates_of(ot.scale_by_radam(b2=0.9), gs, gs)
    np.testing.assert_allclose(ours[200:], adam[200:], rtol=1e-5, atol=1e-6)


def test_a_threshold_that_is_reached_acts():
    gs = jnp.ones((9, 1))
    reached = float(averaged_steps(jnp.float32(0.9), jnp.int32(7)))
    tx = ot.scale_by_radam(b2=0.9, threshold=reached)
    state, acts = tx.init(gs[0]), []
    for g in gs:
        _, state = tx.update(g, state)
        acts.append(bool(state.rectification > 0))
    assert acts == [False] * 6 + [True] * 3


def test_the_series_has_all_its_terms():
    """Where t x is a few hundredths every one of them shows in 64 bits."""
    t = np.array([50, 100, 150, 190])
    with jax.enable_x64(True):
        got = jax.vmap(averaged_steps, (None, 0))(jnp.float64(0.999), jnp.array(t))
    np.testing.assert_allclose(got, [averaged(0.999, n) for n in t], rtol=1e-13)
