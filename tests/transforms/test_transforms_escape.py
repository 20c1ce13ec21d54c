"""Escape from saddles: what Lanczos finds against NumPy, and that the loss falls."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import descend, one_step, quadratic

import optix_tricks as ot

KEY = jax.random.key(0)


def escaping(inner=None, **arguments):
    return ot.escape_saddle(inner or optax.sgd(0.05), KEY, **arguments)


def classic(w):
    return w[0] ** 2 - w[1] ** 2 + w[1] ** 4


def monkey(w):
    """Its Hessian at the origin is zero."""
    return w[0] ** 3 - 3 * w[0] * w[1] ** 2 + jnp.sum(w**2) ** 2


def products(w):
    """Five hundred saddles in a thousand dimensions."""
    return jnp.sum(w[::2] * w[1::2]) + jnp.sum(w**4) / 4


def deep_linear(depth):
    """Fit y = 2x by a product of 3x3 matrices: layers of zeros are stationary."""
    x = jnp.eye(3)

    def loss(w):
        out = x
        for layer in range(depth):
            out = out @ w[layer]
        return jnp.sum((out - 2 * x) ** 2) / 2

    return loss


@pytest.mark.parametrize(
    ("loss", "shape", "curvature", "first_within"),
    [
        (classic, (2,), -2.0, 1),
        (monkey, (2,), 0.0, 1),
        (products, (1000,), -1.0, 1),
        (deep_linear(2), (2, 3, 3), -2.0, 1),
        (deep_linear(3), (3, 3, 3), 0.0, 1),
        (deep_linear(4), (4, 3, 3), 0.0, 20),
    ],
    ids=["classic", "monkey", "products", "deep2", "deep3", "deep4"],
)
def test_it_leaves_saddles_where_the_gradient_is_zero(
    loss, shape, curvature, first_within
):
    zeros = jnp.zeros(shape)
    assert (jax.grad(loss)(zeros) == 0).all()
    _, values, state = descend(escaping(), loss, zeros, 21)
    assert state.examined[0]
    np.testing.assert_allclose(state.lambda_min[0], curvature, atol=1e-5)
    assert state.residual[0] < 1e-5
    first = np.argmax(state.escaped)
    assert state.escaped[first]
    assert first < first_within
    assert values[first + 1] < values[first]
    assert (values[: first + 1] == values[0]).all()


def test_every_escape_lowers_the_loss_by_what_it_promises():
    """From many points near the saddle, in both directions of the gradient."""
    tx = escaping(gradient_tolerance=1.0, radius=0.5)

    def go(w):
        step, state = one_step(tx, classic, w)
        return classic(w + step) - classic(w), jnp.sum(step**2), state

    starts = 0.02 * jax.random.normal(KEY, (30, 2))
    change, squared, state = jax.vmap(go)(starts)
    assert state.escaped.all()
    assert (change <= state.lambda_min * squared / 4 + 1e-6).all()


def test_it_ends_in_the_minimum_with_bfgs_inside_and_values_from_the_state():
    """The line search's value of the saddle must not outlive the escape."""
    value_and_grad = optax.value_and_grad_from_state(classic)
    tx = escaping(ot.bfgs())

    def step(carry, _):
        w, state = carry
        value, grad = value_and_grad(w, state=state)
        updates, state = tx.update(
            grad, state, w, value=value, grad=grad, value_fn=classic
        )
        return (optax.apply_updates(w, updates), state), (value, classic(w))

    start = jnp.array([1.0, 0.0])  # the way down from here ends in the saddle
    (w, state), (said, true) = jax.lax.scan(step, (start, tx.init(start)), None, 12)
    np.testing.assert_allclose(said, true, rtol=1e-5, atol=1e-7)
    assert state.escapes == 1
    np.testing.assert_allclose(classic(w), -0.25, atol=1e-6)


def test_the_inner_state_stays_as_it_was_in_an_escape():
    tx = escaping(optax.adam(0.1))
    w = jnp.zeros(2)
    before = tx.init(w)
    _, after = one_step(tx, classic, w, before)
    assert after.escaped
    for x, y in zip(
        jax.tree.leaves(before.inner_state),
        jax.tree.leaves(after.inner_state),
        strict=True,
    ):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("loss", "start"),
    [
        (quadratic(2, 10.0)[1], [1e-4, 1e-4]),
        (lambda w: jnp.sum(w**4), [0.03, -0.02]),
        (lambda w: w[0] ** 2, [0.0, 1.0]),
        (classic, [0.5, 0.5]),
    ],
    ids=["minimum", "flat minimum", "valley", "slope"],
)
def test_elsewhere_the_updates_are_those_of_the_inner_optimiser(loss, start):
    inner = optax.sgd(0.05, 0.9)
    want, _, _ = descend(inner, loss, jnp.array(start), 8)
    ws, _, state = descend(escaping(inner), loss, jnp.array(start), 8)
    np.testing.assert_allclose(ws, want, rtol=1e-5, atol=1e-7)
    assert not state.escaped.any()
    assert state.examined.all() == (loss is not classic)


def test_the_hessian_is_looked_at_near_stationary_points_alone():
    evaluations = []

    def counted(w):
        jax.debug.callback(lambda: evaluations.append(1))
        return classic(w)

    tx = escaping()

    def count(w):
        evaluations.clear()
        jax.block_until_ready(step(w, tx.init(w)))
        jax.effects_barrier()
        return len(evaluations)

    @jax.jit
    def step(w, state):
        grad = jax.grad(classic)(w)
        return tx.update(grad, state, w, value=classic(w), grad=grad, value_fn=counted)

    assert count(jnp.array([0.5, 0.5])) == 0
    assert count(jnp.zeros(2)) >= 2


def test_the_key_decides_the_direction_where_all_are_equal():
    def step(seed):
        tx = ot.escape_saddle(optax.sgd(0.1), jax.random.key(seed))
        return one_step(tx, monkey, jnp.zeros(2))[0]

    first, again, other = jax.vmap(step)(jnp.array([1, 1, 2]))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_a_loss_that_is_not_finite_beyond_is_approached_by_halves():
    def walled(w):
        return jnp.where(jnp.abs(w[1]) > 0.1, jnp.nan, classic(w))

    step, state = one_step(escaping(), walled, jnp.zeros(2))
    assert state.escaped
    assert jnp.abs(step[1]) == pytest.approx(2.0**-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gradient_tolerance", -1.0),
        ("curvature_tolerance", -1.0),
        ("radius", 0.0),
        ("lanczos_steps", 0),
        ("max_backtracking_steps", 0),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        escaping(**{name: value})


@pytest.mark.parametrize(("quartic", "length"), [(0.27, 0.5), (1.2, 0.25)])
def test_the_first_length_that_brings_half_of_what_curvature_promises(quartic, length):
    """lambda t^2 / 4 is asked for; lengths are halved until the loss falls by it."""

    def loss(w):
        return -(w[0] ** 2) / 2 + quartic * w[0] ** 4 + w[1] ** 2

    step, state = one_step(escaping(), loss, jnp.zeros(2))
    assert state.escaped
    np.testing.assert_allclose(jnp.abs(step), [length, 0], atol=1e-5)


def test_there_are_at_most_as_many_trials_as_allowed():
    def walled(w):  # the ninth length is the first within the walls
        return jnp.where(jnp.abs(w[1]) > 0.1, jnp.nan, classic(w))

    for most, escaped in ((8, False), (9, True)):
        tx = escaping(max_backtracking_steps=most)
        assert bool(one_step(tx, walled, jnp.zeros(2))[1].escaped) == escaped


def test_one_product_looks_along_a_random_direction():
    tx = escaping(lanczos_steps=1, max_backtracking_steps=1)
    step, state = one_step(tx, classic, jnp.zeros(2))
    assert state.examined
    assert state.residual > 1e-3
    assert classic(step) <= 0


def test_a_constant_loss_is_left_for_nowhere():
    step, state = one_step(escaping(), lambda w: 0.0 * w[0], jnp.zeros(2))
    assert state.examined
    assert not state.escaped
    np.testing.assert_array_equal(step, jnp.zeros(2))
