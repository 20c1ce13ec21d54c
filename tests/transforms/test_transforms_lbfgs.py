"""L-BFGS against Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import descend, quadratic, rosenbrock, rosenbrock_start

import optix_tricks as ot


@pytest.mark.parametrize(
    ("arguments", "dtype"),
    [
        ({}, "float32"),
        (
            {"learning_rate": 0.5, "memory_size": 3, "scale_init_precond": False},
            "float64",
        ),
    ],
)
def test_lbfgs_goes_the_way_of_optax(arguments, dtype):
    with jax.enable_x64(dtype == "float64"):
        start = rosenbrock_start(10).astype(dtype)
        ours, _, state = descend(ot.lbfgs(**arguments), rosenbrock, start, 12)
        theirs, _, _ = descend(optax.lbfgs(**arguments), rosenbrock, start, 12)
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == dtype
        assert (state.inner_state[-1].info.decrease_error == 0).all()


def test_lbfgs_without_a_line_search_needs_no_loss():
    _, loss = quadratic(4, 5.0)
    tx = ot.lbfgs(0.5, linesearch=None)

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(jax.grad(loss)(w), state, w)
        return (optax.apply_updates(w, updates), state), None

    w = jnp.ones(4)
    (w, state), _ = jax.lax.scan(step, (w, tx.init(w)), None, 25)
    np.testing.assert_allclose(w, 0, atol=1e-3)
    assert ot.report(state) == {"learning_rate": 0.5}


def test_the_rate_of_lbfgs_can_follow_a_schedule():
    tx = ot.lbfgs(lambda count: 0.5 / (1 + count), linesearch=None)
    plain = optax.lbfgs(linesearch=None)
    w, ours, theirs = jnp.ones(2), tx.init(jnp.ones(2)), plain.init(jnp.ones(2))
    for t in range(2):
        g = jnp.array([1.0, 2.0 + t])
        step, ours = tx.update(g, ours, w)
        whole, theirs = plain.update(g, theirs, w)
        np.testing.assert_allclose(step, 0.5 / (1 + t) * whole, rtol=1e-6)
        w = w + whole


def test_lbfgs_in_16_bits_is_that_of_float32_rounded_once():
    """Points and gradients that bfloat16 holds exactly, so that only the step rounds."""

    def two_steps(tx, dtype):
        w = jnp.array([1.0, -0.5, 0.25, 2.0], dtype)
        g = jnp.array([[1.0, 2.0, 3.0, 4.0], [0.6875, 1.875, 2.5, 3.125]], dtype)

        def step(state, gw):
            updates, state = tx.update(gw[0], state, gw[1])
            return state, updates

        state, steps = jax.lax.scan(step, tx.init(w), (g, jnp.stack([w, w + 0.125])))
        return steps, optax.tree.get(state, "diff_updates_memory").dtype

    ours, memory = two_steps(ot.lbfgs(linesearch=None), jnp.bfloat16)
    wide, _ = two_steps(optax.lbfgs(linesearch=None), jnp.float32)
    theirs, _ = two_steps(optax.lbfgs(linesearch=None), jnp.bfloat16)
    np.testing.assert_array_equal(ours, wide.astype(jnp.bfloat16))
    assert memory == jnp.float32
    assert (theirs != ours).any()


@pytest.mark.parametrize(("name", "value"), [("memory_size", 0), ("learning_rate", -1.0)])
def test_arguments_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        ot.lbfgs(**{name: value})


def test_one_pair_is_the_least_memory():
    w = jnp.ones(3)
    one, two = (ot.lbfgs(memory_size=size).init(w) for size in (1, 2))
    size = [sum(x.size for x in jax.tree.leaves(state)) for state in (one, two)]
    assert size[1] - size[0] >= 2 * w.size
