"""Statistics under a lookahead: against a loop in NumPy, and on several devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optix_tricks as ot
from optix_tricks.losses import cross_entropy
from optix_tricks.schedules import lookahead_schedule
from optix_tricks.training import (
    Batch,
    compile_step_on_devices,
    create_state,
    lookahead_statistics,
    make_train_step,
    on_slow_weights,
)


def scaled(params, batch_stats, images, *, train, key=None):
    """A network whose statistic is the running mean of its inputs."""
    mean = jnp.mean(images)
    stats = {"mean": 0.5 * batch_stats["mean"] + 0.5 * mean} if train else batch_stats
    features = images.reshape(len(images), -1) - batch_stats["mean"]
    return features @ params["w"], stats


def setting(steps=7):
    first = {"mean": jnp.float32(0.25)}
    schedule = lookahead_schedule(steps, decay=0.8, power=1.0)
    apply, stats = lookahead_statistics(
        scaled, first, sync_period=3, slow_step_size=schedule
    )
    tx = ot.lookahead(ot.sgd(0.1), sync_period=3, slow_step_size=schedule)
    params = {"w": jnp.zeros((4, 3))}
    return apply, create_state(params, stats, tx, jax.random.key(0)), tx


def batch(seed, size=8):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(size, 2, 2, 1)).astype(np.float32)
    return Batch(jnp.asarray(images), jnp.asarray(rng.integers(0, 3, size)))


def test_follows_a_loop():
    apply, state, tx = setting()
    step = jax.jit(make_train_step(apply, cross_entropy, tx))
    fast = slow = 0.25
    for number in range(7):
        state, _ = step(state, batch(number))
        fast = 0.5 * fast + 0.5 * np.asarray(batch(number).inputs, float).mean()
        if (number + 1) % 3 == 0:
            decay = 0.8 * (number + 1) / 7
            fast = slow = decay * slow + (1 - decay) * fast
        assert state.batch_stats["fast"]["mean"] == pytest.approx(fast, rel=1e-5)
        assert state.batch_stats["slow"]["mean"] == pytest.approx(slow, rel=1e-5)
    shown = on_slow_weights(state)
    assert shown.batch_stats["fast"]["mean"] == pytest.approx(slow, rel=1e-5)
    np.testing.assert_array_equal(
        shown.params["w"], ot.averaged_params(state.opt_state, state.params)["w"]
    )
    assert not np.array_equal(shown.params["w"], state.params["w"])


def test_evaluation_changes_nothing():
    apply, state, _ = setting()
    _, stats = apply(state.params, state.batch_stats, batch(0).inputs, train=False)
    assert stats is state.batch_stats


def test_devices_share_the_statistics():
    apply, state, tx = setting()
    step = make_train_step(apply, cross_entropy, tx, axis_name="data")
    compiled, many = compile_step_on_devices(
        step, state, axis_name="data", devices=jax.devices()[:2]
    )
    one = jax.jit(make_train_step(apply, cross_entropy, tx))
    for number in range(4):
        state, _ = one(state, batch(number))
        halves = jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:]), batch(number))
        many, _ = jax.block_until_ready(compiled(many, halves))
    for name in ("fast", "slow"):
        ours = many.batch_stats[name]["mean"]
        np.testing.assert_allclose(ours, float(state.batch_stats[name]["mean"]), 1e-5)
    np.testing.assert_array_equal(many.batch_stats["count"], 4)
