"""Momentum: trace, ema and sgd."""

import hypothesis
import hypothesis.strategies as st
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


def torch_momentum(gs, ws, decay, nesterov=False, dampening=0.0):
    """The buffer of torch.optim.SGD: the first gradient is taken whole."""
    del ws
    out, buffer = [], None
    for g in gs:
        buffer = g if buffer is None else decay * buffer + (1 - dampening) * g
        out.append(g + decay * buffer if nesterov else buffer)
    return np.array(out)


def moving_average(gs, ws, decay, debias=True):
    """Kingma and Ba 2015, algorithm 1, m_t; written as the explicit weighted sum."""
    del ws
    out = []
    for t in range(1, len(gs) + 1):
        weights = (1 - decay) * decay ** np.arange(t - 1, -1, -1)
        m = np.tensordot(weights, gs[:t], axes=1)
        out.append(m / weights.sum() if debias else m)
    return np.array(out)


def torch_sgd(gs, w, learning_rate, momentum=None, nesterov=False, dampening=0.0):
    """torch.optim.SGD without decay."""
    us = gs
    if momentum is not None:
        us = torch_momentum(gs, None, momentum, nesterov, dampening)
    return w - learning_rate * np.cumsum(us, axis=0)


@dtypes
@pytest.mark.parametrize(
    "arguments",
    [
        {"decay": 0.9},
        {"decay": 0.99, "nesterov": True},
        {"decay": 0.0},
        {"decay": 0.9, "dampening": 0.9},
        {"decay": 0.5, "dampening": 1.0},
    ],
)
def test_trace_is_the_buffer_of_torch_sgd(arguments, dtype):
    assert_link_follows(ot.trace, torch_momentum, arguments, dtype)


@dtypes
@pytest.mark.parametrize(
    "arguments",
    [
        {"decay": 0.9},
        {"decay": 0.9, "debias": False},
        {"decay": 0.999},
        {"decay": 0.0},
    ],
)
def test_ema_is_the_weighted_mean_of_past_gradients(arguments, dtype):
    assert_link_follows(ot.ema, moving_average, arguments, dtype)


@dtypes
@pytest.mark.parametrize(
    "arguments",
    [
        {"learning_rate": 0.1},
        {"learning_rate": 0.03, "momentum": 0.9},
        {"learning_rate": 0.03, "momentum": 0.9, "nesterov": True},
        {"learning_rate": 0.1, "momentum": 0.8, "dampening": 0.5},
    ],
)
def test_sgd_goes_the_way_of_torch_sgd(arguments, dtype):
    assert_optimiser_follows(ot.sgd, torch_sgd, arguments, dtype)


def test_the_rate_multiplies_after_the_momentum():
    tx = ot.sgd(lambda count: jnp.where(count == 0, 1.0, 0.1), momentum=0.9)
    updates, _ = updates_of(tx, jnp.ones((2, 1)), jnp.ones((2, 1)))
    np.testing.assert_allclose(updates[:, 0], [-1.0, -0.1 * 1.9], rtol=1e-6)


@jax.jit
def both_forms(gs, decay):
    accumulated, _ = updates_of(ot.trace(decay), gs, gs)
    averaged, _ = updates_of(ot.ema(decay, debias=False), gs, gs)
    return accumulated, averaged


@hypothesis.given(decay=st.floats(0.0, 0.999), seed=st.integers(0, 10**6))
def test_trace_is_the_biased_ema_divided_by_one_minus_decay(decay, seed):
    decay = jnp.float32(decay)
    accumulated, averaged = both_forms(jnp.float32(noise(seed, 10, 3)), decay)
    np.testing.assert_allclose(
        accumulated * (1 - decay), averaged, rtol=1e-5, atol=1e-5 * abs(averaged).max()
    )


def test_dampening_by_the_decay_is_an_ema_that_starts_at_the_first_gradient():
    gs = noise(5, 20, 3)
    updates, _ = updates_of(ot.trace(0.9, dampening=0.9), *[jnp.float32(gs)] * 2)
    want = [gs[0]]
    for g in gs[1:]:
        want.append(0.9 * want[-1] + 0.1 * g)
    np.testing.assert_allclose(updates, want, rtol=1e-5, atol=1e-6)


def test_bfloat16_parameters_and_gradients_keep_the_average_in_float32():
    """With decay 0.999 a bfloat16 average would stand still: 0.999 rounds to 1."""
    gs = jnp.concatenate([jnp.ones(3), jnp.zeros(2000)]).astype(jnp.bfloat16)
    _, state = updates_of(ot.ema(0.999), gs, gs)
    decay = float(np.float32(0.999))
    assert state.ema.dtype == jnp.float32
    assert state.ema == pytest.approx((1 - decay**3) * decay**2000, rel=1e-4)


def test_a_bfloat16_average_decays_to_the_true_value_within_six_per_cent():
    """bfloat16 holds 8 bits, a unit is up to 0.8 %; the dithered walk is some units."""
    gs = jnp.concatenate([jnp.ones((3, 64)), jnp.zeros((2000, 64))]).astype(jnp.bfloat16)
    _, state = updates_of(ot.ema(0.999, state_dtype=jnp.bfloat16), gs, gs)
    decay = float(np.float32(0.999))
    got = np.asarray(state.ema, np.float64)
    want = (1 - decay**3) * decay**2000
    assert state.ema.dtype == jnp.bfloat16
    np.testing.assert_allclose(got, want, rtol=0.06)
    assert got.mean() == pytest.approx(want, rel=0.015)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_dithered_rounding_has_no_bias(sign):
    """An average that a rounding to nearest would freeze half-way to its goal."""
    gs = jnp.full((4000, 64), sign)
    _, state = updates_of(ot.ema(0.999, state_dtype=jnp.bfloat16), gs, gs)
    want = sign * (1 - float(np.float32(0.999)) ** 4000)
    assert np.asarray(state.ema, np.float64).mean() == pytest.approx(want, rel=0.005)


def test_float16_gradients_of_zero_stay_zero():
    gs = jnp.zeros((5, 3), jnp.float16)
    for tx in (ot.trace(0.9, nesterov=True), ot.ema(0.9), ot.sgd(0.1, momentum=0.9)):
        assert (updates_of(tx, gs, gs)[0] == 0).all()


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_decay_out_of_range_is_refused(value):
    for make in (ot.trace, ot.ema):
        with pytest.raises(ValueError, match=f"decay.*{value}"):
            make(value)


def test_a_trace_may_add_up_everything_but_an_average_forgets():
    gs = jnp.arange(1.0, 5.0)[:, None]
    updates, _ = updates_of(ot.trace(1.0), gs, gs)
    np.testing.assert_array_equal(updates[:, 0], [1, 3, 6, 10])
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got 1.0"):
        ot.ema(1.0)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("inf")])
def test_a_dampening_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=f"dampening.*{value}"):
        ot.trace(0.9, dampening=value)


def test_dampened_nesterov_is_refused():
    with pytest.raises(ValueError, match=r"dampening must be 0 with nesterov.*0\.5"):
        ot.sgd(0.1, momentum=0.9, nesterov=True, dampening=0.5)


def test_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match=r"learning_rate.*-0\.1"):
        ot.sgd(-0.1)


@pytest.mark.parametrize("make", [ot.trace, ot.ema])
def test_a_state_dtype_that_cannot_hold_an_average_is_refused(make):
    with pytest.raises(ValueError, match=r"state_dtype must be.*int32"):
        make(0.9, state_dtype=jnp.int32)
    with pytest.raises(ValueError, match=r"state_dtype must be.*float16"):
        make(0.9, state_dtype=jnp.float16)


def test_masked_leaves_of_sgd_take_plain_steps():
    w = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    tx = ot.sgd(0.1, momentum=0.9, mask=ot.no_bias_or_norm)
    state = tx.init(w)
    for _ in range(2):
        updates, state = tx.update(w, state, w)
    np.testing.assert_allclose(updates["bias"], -0.1, rtol=1e-6)
    np.testing.assert_allclose(updates["kernel"], -0.19, rtol=1e-6)


def loss_after(tx, curvatures, steps):
    """Half the curvature-weighted square of a parameter that started at one."""

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(curvatures * w, state, w)
        return (optax.apply_updates(w, updates), state), None

    w = jnp.ones_like(curvatures)
    (w, _), _ = jax.lax.scan(step, (w, tx.init(w)), None, length=steps)
    return float(jnp.sum(curvatures * w**2) / 2)


def test_momentum_helps_where_curvatures_differ():
    """Each at its best constant rate for curvatures 0.01 and 1 (Polyak, 1964)."""
    ravine = jnp.array([0.01, 1.0])
    plain = loss_after(ot.sgd(2 / 1.01), ravine, 100)
    heavy = loss_after(ot.sgd(4 / 1.1**2, momentum=(0.9 / 1.1) ** 2), ravine, 100)
    assert heavy < 1e-6 * plain


def test_momentum_does_not_help_where_curvatures_are_equal():
    bowl = jnp.array([1.0, 1.0])
    plain = loss_after(ot.sgd(0.5), bowl, 30)
    assert plain < loss_after(ot.sgd(0.5, momentum=0.9), bowl, 30)
