"""The last link of a chain: sign, schedule, and the rate in the state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import assert_link_follows, dtypes, updates_of

import optix_tricks as ot


@dtypes
@pytest.mark.parametrize(
    "arguments", [{"learning_rate": 0.1}, {"learning_rate": 3.0, "flip_sign": False}]
)
def test_it_multiplies_by_minus_the_rate(arguments, dtype):
    def formula(gs, ws, learning_rate, flip_sign=True):
        return (-learning_rate if flip_sign else learning_rate) * gs

    assert_link_follows(ot.scale_by_learning_rate, formula, arguments, dtype, steps=5)


def test_a_schedule_is_read_before_the_count_goes_up():
    tx = ot.scale_by_learning_rate(lambda count: 10.0 + count)
    updates, state = updates_of(tx, jnp.ones((4, 1)), jnp.ones((4, 1)))
    np.testing.assert_array_equal(updates[:, 0], [-10.0, -11.0, -12.0, -13.0])
    assert float(state.hyperparams["learning_rate"]) == 13.0
    assert int(state.count) == 4


def test_a_warm_up_from_zero_begins_with_a_step_of_zero():
    tx = ot.sgd(optax.linear_schedule(0.0, 1.0, 2))
    updates, _ = updates_of(tx, jnp.ones((3, 1)), jnp.ones((3, 1)))
    np.testing.assert_array_equal(updates[:, 0], [0.0, -0.5, -1.0])


def test_the_rate_is_not_rounded_to_bfloat16_before_the_product():
    """0.001 is 0.00099945 in bfloat16: times 1.5 that would be another number."""
    g = jnp.float32([1.5, 3.0, 192.0]).astype(jnp.bfloat16)
    tx = ot.scale_by_learning_rate(lambda count: 0.001, flip_sign=False)
    updates, _ = tx.update(g, tx.init(g))
    want = (np.float32(0.001) * np.float32(g)).astype(jnp.bfloat16)
    twice = jnp.bfloat16(0.001) * g
    np.testing.assert_array_equal(updates, want)
    assert (twice != want).any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_zeros_stay_zero_of_their_dtype(dtype):
    tx = ot.scale_by_learning_rate(0.1)
    updates, _ = tx.update(jnp.zeros(3, dtype), tx.init(jnp.zeros(3, dtype)))
    assert updates.dtype == dtype
    assert (updates == 0).all()


def test_a_number_lives_in_the_state_and_can_be_changed_there():
    tx = ot.scale_by_learning_rate(0.1)
    state = optax.tree.set(tx.init(jnp.ones(1)), learning_rate=jnp.float32(0.5))
    updates, state = jax.jit(tx.update)(jnp.ones(1), state)
    assert float(updates[0]) == -0.5
    assert float(state.hyperparams["learning_rate"]) == 0.5


def test_a_traced_rate_is_differentiable():
    def loss(rate):
        tx = ot.scale_by_learning_rate(rate)
        updates, _ = tx.update(jnp.array([2.0, 3.0]), tx.init(jnp.ones(2)))
        return updates.sum()

    assert float(jax.grad(loss)(0.1)) == -5.0


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused_by_name(value):
    with pytest.raises(ValueError, match=f"learning_rate.*{value}"):
        ot.scale_by_learning_rate(value)


def test_a_mask_of_another_structure_is_refused():
    with pytest.raises(ValueError, match="mask must be a tree of bools shaped like"):
        ot.scale_by_learning_rate(0.1, mask={"a": True}).init({"b": jnp.ones(2)})


def test_the_rate_decides_whether_gradient_descent_converges():
    """A quadratic of curvature 1 converges below 2 and diverges above."""
    for rate, converges in ((1.9, True), (2.1, False)):
        factor = 1.0
        tx = ot.scale_by_learning_rate(rate)
        state = tx.init(jnp.ones(1))
        for _ in range(10):
            updates, state = tx.update(jnp.full(1, factor), state)
            factor += float(updates[0])
        assert (abs(factor) < 1) == converges
