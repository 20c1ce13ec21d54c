"""Delayed gradients: whose turn it is, and the rates at which descent stays stable."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import assert_link_follows, dtypes, noise, updates_of

import optix_tricks as ot


@dtypes
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_the_gradient_of_some_steps_ago_is_used(steps, dtype):
    def formula(gs, ws, steps):
        return np.concatenate([np.zeros_like(gs[:steps]), gs[: len(gs) - steps]])

    assert_link_follows(ot.delayed_gradients, formula, {"steps": steps}, dtype, steps=12)


def test_masked_leaves_are_not_delayed_and_do_not_wait():
    w = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    tx = ot.delayed_gradients(3, mask=ot.no_bias_or_norm)
    state = tx.init(w)
    assert [x["kernel"].shape for x in state.waiting] == [(2, 2)] * 3
    assert [x["bias"] for x in state.waiting] == [optax.MaskedNode()] * 3
    updates, _ = tx.update(w, state)
    np.testing.assert_array_equal(updates["kernel"], 0.0)
    np.testing.assert_array_equal(updates["bias"], 1.0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_gradients_wait_without_loss(dtype):
    gs = jnp.asarray(noise(1, 6, 4), dtype)
    updates, _ = updates_of(ot.delayed_gradients(2), gs, gs)
    assert updates.dtype == dtype
    np.testing.assert_array_equal(updates[2:], gs[:4])


def test_gradients_that_wait_in_bfloat16_are_rounded_once():
    """What waits is stored anew each step: it must not drift."""
    gs = jnp.float32(noise(1, 20, 50))
    updates, state = updates_of(ot.delayed_gradients(9, state_dtype="bfloat16"), gs, gs)
    assert {x.dtype for x in state.waiting} == {jnp.dtype("bfloat16")}
    np.testing.assert_allclose(updates[9:], gs[:11], rtol=2**-7)
    again = jnp.asarray(updates[9:], jnp.bfloat16)
    np.testing.assert_array_equal(again.astype(jnp.float32), updates[9:])


def test_nan_arrives_when_its_turn_comes():
    gs = jnp.ones((4, 1)).at[0].set(jnp.nan)
    updates, _ = updates_of(ot.delayed_gradients(2), gs, gs)
    np.testing.assert_array_equal(updates[:, 0], [0.0, 0.0, np.nan, 1.0])


@pytest.mark.parametrize("steps", [-1, -7])
def test_a_negative_number_of_steps_is_refused(steps):
    with pytest.raises(ValueError, match=f"steps must be .*got {steps}"):
        ot.delayed_gradients(steps)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (3, 0), (1, 2)])
def test_delays_add_up(first, second):
    gs = jnp.float32(noise(1, 10, 3))
    both = optax.chain(ot.delayed_gradients(first), ot.delayed_gradients(second))
    want, _ = updates_of(ot.delayed_gradients(first + second), gs, gs)
    np.testing.assert_array_equal(updates_of(both, gs, gs)[0], want)


def growth(steps, rate):
    """How much a parameter of a quadratic of curvature 1 grows from step 100 to 800."""
    tx = optax.chain(ot.delayed_gradients(steps), ot.sgd(rate))

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(w, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), jnp.abs(w)

    w = jnp.ones(())
    _, sizes = jax.lax.scan(step, (w, tx.init(w)), length=800)
    return float(sizes[-100:].max() / sizes[100:200].max())


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_the_stable_rate_shrinks_with_the_delay(steps):
    limit = 2 * np.sin(np.pi / (2 * (2 * steps + 1)))
    assert growth(steps, 0.97 * limit) < 0.1
    assert growth(steps, 1.03 * limit) > 10


def test_a_constant_gradient_does_not_notice_the_delay_after_its_start():
    gs = jnp.ones((8, 1))
    updates, _ = updates_of(ot.delayed_gradients(3), gs, gs)
    np.testing.assert_array_equal(updates[:, 0], [0, 0, 0, 1, 1, 1, 1, 1])


def delays(steps, n, key=0):
    """Which gradient is handed in at each step; -1 for none."""
    gs = jnp.arange(1.0, n + 1)[:, None]
    updates, _ = updates_of(ot.delayed_gradients(steps, key=key), gs, gs)
    handed = np.asarray(updates[:, 0]).astype(int)
    return np.where(handed > 0, np.arange(1, n + 1) - handed, -1)


def test_workers_hand_in_what_they_took_when_they_last_did():
    """Played by hand: the draws of the order are all that is taken from the product."""
    key, workers, n = jax.random.key(3), 4, 50
    order = [
        int(jax.random.randint(jax.random.fold_in(key, t), (), 0, workers))
        for t in range(n + 1)
    ]
    held, want = [0.0] * workers, []
    for t in range(1, n + 1):
        held[order[t - 1]] = float(t)  # the gradient of the parameters of now
        want.append(held[order[t]])
    gs = jnp.arange(1.0, n + 1)[:, None]
    updates, _ = updates_of(ot.delayed_gradients(workers - 1, key=key), gs, gs)
    np.testing.assert_array_equal(updates[:, 0], want)


@pytest.mark.parametrize("steps", [1, 4])
def test_random_delays_are_geometric(steps):
    n = 4000
    seen = delays(steps, n)[200:]
    p = 1 / (steps + 1)
    for d in range(3):
        want = p * (1 - p) ** d
        spread = np.sqrt(want * (1 - want) / len(seen)) * np.sqrt(2 * steps + 1)
        assert abs(np.mean(seen == d) - want) < 4 * spread
    assert seen.mean() == pytest.approx(steps, rel=0.15)
    assert not np.array_equal(delays(steps, 50), delays(steps, 50, key=1))


def test_asynchrony_begets_momentum():
    """On a quadratic the mean over the draws goes the way of a running average."""
    steps, rate, n, draws = 3, 0.3, 12, 4000

    def path(key):
        tx = optax.chain(ot.delayed_gradients(steps, key=key), ot.sgd(rate))

        def step(carry, _):
            w, state = carry
            updates, state = tx.update(w, state, w)
            return (w + updates, state), w + updates

        w = jnp.ones(())
        return jax.lax.scan(step, (w, tx.init(w)), length=n)[1]

    paths = jax.jit(jax.vmap(path))(jax.random.split(jax.random.key(0), draws))
    w, average, want = 1.0, 0.0, []
    for _ in range(n):
        average = (steps * average + w) / (steps + 1)
        w -= rate * average
        want.append(w)
    paths = np.asarray(paths)
    error = paths.std(axis=0) / np.sqrt(draws)
    assert np.all(np.abs(paths.mean(axis=0) - want) < 4 * error + 1e-6)
