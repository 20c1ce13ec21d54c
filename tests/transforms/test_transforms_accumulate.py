"""Gradient accumulation against large batches, Optax's MultiSteps and NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import assert_close, noise, updates_of

import optix_tricks as ot

INPUTS, TARGETS = jnp.float32(noise(1, 48, 5)), jnp.float32(noise(2, 48, 2))


def loss(w, x, y):
    return jnp.mean(jnp.sum((x @ w["kernel"] + w["bias"][None] - y) ** 2, axis=1))


def train(tx, batch_size):
    """One pass over the examples in batches; parameters after each of them."""
    batches = jax.tree.map(
        lambda x: x.reshape(-1, batch_size, x.shape[-1]), (INPUTS, TARGETS)
    )

    def step(carry, batch):
        w, state = carry
        updates, state = tx.update(jax.grad(loss)(w, *batch), state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), w

    w = {"kernel": jnp.ones((5, 2)), "bias": jnp.zeros(2)}
    (_, state), path = jax.jit(lambda w: jax.lax.scan(step, (w, tx.init(w)), batches))(w)
    return path, state


def counted(inner):
    """The transformation, and a list that grows with each run of its update."""
    runs = []

    def update(updates, state, params=None):
        jax.debug.callback(lambda: runs.append(1))
        return inner.update(updates, state, params)

    return optax.GradientTransformation(inner.init, update), runs


@pytest.mark.parametrize("k", [1, 3, 4])
def test_micro_batches_make_the_steps_of_the_big_batch(k):
    tx = optax.chain(ot.clip_by_global_norm(2.0), ot.adamw(0.1, weight_decay=0.1))
    whole, _ = train(tx, 12)
    parts, _ = train(ot.accumulate(tx, k), 12 // k)
    parts = jax.tree.map(lambda x: x[k - 1 :: k], parts)
    chex.assert_trees_all_close(parts, whole, rtol=2e-6, atol=1e-6)


def test_every_step_is_the_inner_transformation_bit_by_bit():
    inner = ot.sgd(0.1, momentum=0.9)
    outer, w = ot.accumulate(inner, 1), jnp.ones(4)
    inner_state, outer_state = inner.init(w), outer.init(w)
    for g in jnp.float32(noise(8, 4, 4)):
        want, inner_state = inner.update(g, inner_state, w)
        got, outer_state = outer.update(g, outer_state, w)
        chex.assert_trees_all_equal(got, want)


@pytest.mark.parametrize("mean", [True, False])
def test_it_goes_the_way_of_momentum_on_means_or_sums(mean):
    gs = noise(3, 12, 4)
    tx = ot.accumulate(ot.sgd(0.1, momentum=0.8), 3, mean=mean)
    got, _ = updates_of(tx, jnp.float32(gs), jnp.float32(gs))
    v, want = 0.0, []
    for window in gs.reshape(4, 3, 4):
        v = 0.8 * v + window.sum(0) / (3 if mean else 1)
        want += [0 * v, 0 * v, -0.1 * v]
    assert_close(np.asarray(got, np.float64), want, 1e-6)


@pytest.mark.parametrize("every_steps", [1, 4, lambda n: 1 + n, lambda n: 3 - (n > 0)])
def test_it_goes_the_way_of_multi_steps(every_steps):
    gs = jnp.float32(noise(4, 12, 4))
    ours, state = updates_of(ot.accumulate(optax.adam(0.1), every_steps), gs, gs)
    multi = optax.MultiSteps(optax.adam(0.1), every_steps)
    theirs, their_state = updates_of(multi.gradient_transformation(), gs, gs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert state.mini_step == their_state.mini_step
    assert state.gradient_step == their_state.gradient_step


def test_the_inner_update_runs_only_when_it_is_applied():
    gs = jnp.float32(noise(5, 14, 4))
    inner, runs = counted(ot.adam(0.1))
    _, state = updates_of(ot.accumulate(inner, 4), gs, gs)
    jax.effects_barrier()
    assert len(runs) == 3
    assert state.inner_state[0].count == 3
    assert state.count == 14
    # The count can tell: Optax computes every update and throws three of four away.
    inner, runs = counted(optax.adam(0.1))
    updates_of(optax.MultiSteps(inner, 4).gradient_transformation(), gs, gs)
    jax.effects_barrier()
    assert len(runs) == 14


def test_outside_of_jit_it_runs_only_when_it_is_applied_too():
    inner, runs = counted(ot.sgd(0.1))
    tx = ot.accumulate(inner, 2)
    state = tx.init(jnp.zeros(2))
    for _ in range(5):
        _, state = tx.update(jnp.ones(2), state)
    jax.effects_barrier()
    assert len(runs) == 2


def test_between_updates_nothing_decays_and_updates_are_zero():
    gs = jnp.zeros((5, 2))
    tx = ot.accumulate(ot.adamw(0.1, weight_decay=0.5), 5)
    updates, _ = updates_of(tx, gs, jnp.ones((5, 2)))
    assert (updates[:4] == 0).all()
    np.testing.assert_allclose(updates[4], -0.05, rtol=1e-6)


def test_small_gradients_in_bfloat16_are_not_lost_beside_a_large_one():
    """In bfloat16 1 + 2^-9 is 1; the 255 small ones add up to half as much again."""
    gs = jnp.where(jnp.arange(256) == 0, 1.0, 2.0**-9).astype(jnp.bfloat16)[:, None]
    tx = ot.accumulate(ot.sgd(1.0), 256, mean=False)
    updates, state = updates_of(tx, gs, gs)
    assert updates.dtype == jnp.bfloat16
    assert state.acc_grads.dtype == jnp.float32
    assert updates[-1] == jnp.bfloat16(-(1 + 255 * 2.0**-9))


def test_a_slot_of_optax_does_not_change_its_dtype_below_16_bit_parameters():
    w = jnp.ones(3, jnp.bfloat16)
    tx = ot.accumulate(optax.adam(0.1), 2)
    _, state = updates_of(tx, jnp.ones((4, 3), jnp.bfloat16), jnp.stack([w] * 4))
    assert {x.dtype for x in jax.tree.leaves(optax.tree.get(state, "nu"))} == {
        jnp.dtype("float32")
    }


def test_number_array_and_schedule_are_the_same_and_vmap_sweeps():
    gs = jnp.float32(noise(6, 8, 3))

    def run(every_steps):
        return updates_of(ot.accumulate(ot.adam(0.1), every_steps), gs, gs)[0]

    sweep = jax.vmap(run)(jnp.array([1.0, 3.0]))
    for form in (3, np.float64(3), jnp.int32(3), lambda n: 3):
        np.testing.assert_allclose(run(form), sweep[1], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(run(1), sweep[0], rtol=1e-6, atol=1e-7)


def test_the_number_of_steps_can_be_changed_in_the_state():
    """What was gathered counts: three gradients are divided by three."""
    tx = ot.accumulate(ot.sgd(1.0), 8)
    traces = []

    @jax.jit
    def update(g, state):
        traces.append(1)
        return tx.update(g, state)

    state = tx.init(jnp.zeros(1))
    for g in (1.0, 2.0):
        _, state = update(jnp.full(1, g), state)
    state = optax.tree.set(state, every_steps=jnp.float32(3))
    updates, state = update(jnp.full(1, 6.0), state)
    assert updates == -3
    assert (state.mini_step, state.gradient_step) == (0, 1)
    assert len(traces) == 1


def test_it_says_where_it_stands():
    tx = ot.accumulate(ot.sgd(0.1), 2)
    state, said = tx.init(jnp.zeros(1)), []
    for _ in range(4):
        said.append(ot.report(state))
        _, state = tx.update(jnp.ones(1), state)
    assert [bool(x["applied"]) for x in said] == [False, False, True, False]
    assert [int(x["mini_step"]) for x in said] == [0, 1, 0, 1]
    assert [int(x["gradient_step"]) for x in said] == [0, 0, 1, 1]
    assert float(said[0]["every_steps"]) == 2
    assert float(said[0]["learning_rate"]) == pytest.approx(0.1)


def test_every_step_may_be_applied():
    tx = ot.accumulate(ot.sgd(0.5), 1)
    updates, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
    assert float(updates[0]) == -0.5
    assert bool(ot.report(state)["applied"])


def test_a_packed_tree_in_bfloat16_goes_the_way_of_the_tree():
    w = {"a": jnp.ones((4, 3), jnp.bfloat16), "b": jnp.zeros(5, jnp.bfloat16)}
    tx, packed = ot.accumulate(optax.sgd(0.3), 2), ot.pack(w)
    state, packed_state = tx.init(w), tx.init(packed)
    for _ in range(2):
        updates, state = tx.update(w, state, w)
        flat, packed_state = tx.update(packed, packed_state, packed)
    chex.assert_trees_all_equal(ot.unpack(flat), updates)
    assert updates["a"].dtype == jnp.bfloat16
    assert updates["a"][0, 0] == jnp.bfloat16(-0.3)


def test_a_gradient_that_is_missing_leaves_its_parameter_alone():
    w = {"a": jnp.ones(2), "b": jnp.ones(2)}
    tx = ot.accumulate(ot.sgd(1.0), 2)
    state = tx.init(w)
    for _ in range(2):
        updates, state = tx.update({"a": jnp.ones(2), "b": None}, state, w)
    assert updates["b"] is None
    assert (updates["a"] == -1).all()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "every_steps must be at least 1, got 0"),
        (-2.0, "every_steps must be at least 1, got -2"),
        (2.5, "every_steps must be a whole number, got 2.5"),
    ],
)
def test_numbers_of_steps_out_of_range_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        ot.accumulate(ot.sgd(0.1), value)


def test_adam_on_the_sum_of_a_period_goes_the_right_way():
    """Reddi et al. 2018: 3 once in three and -1 else leads Adam uphill."""
    gs = jnp.where(jnp.arange(300) % 3 == 0, 3.0, -1.0)[:, None]
    adam = ot.adam(0.01, b1=0.0, b2=0.1, eps=0.0)
    assert updates_of(adam, gs, gs)[0].sum() > 0.5
    assert updates_of(ot.accumulate(adam, 3), gs, gs)[0].sum() < -0.5
