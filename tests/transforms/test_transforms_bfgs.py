"""BFGS against the formula in NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from problems import (
    descend,
    logistic_regression,
    one_step,
    quadratic,
    rosenbrock,
    rosenbrock_start,
    way,
)

import optix_tricks as ot


def rosenbrock_gradient(w):
    valley = w[1] - w[0] ** 2
    return np.array([-400 * w[0] * valley - 2 * (1 - w[0]), 200 * valley])


def test_every_matrix_and_direction_is_that_of_the_formula():
    """The product form of the paper from the points alone; the first pair scales."""
    with jax.enable_x64(True):
        ws, values, state = descend(ot.bfgs(), rosenbrock, rosenbrock_start(2), 15)
        ws, values = np.asarray(ws), np.asarray(values)
    H, identity = np.eye(2), np.eye(2)
    for t, w in enumerate(ws[:-1]):
        g = rosenbrock_gradient(w)
        if t > 0:
            s, y = w - ws[t - 1], g - rosenbrock_gradient(ws[t - 1])
            rho = 1 / (y @ s)
            H = (y @ s) / (y @ y) * identity if t == 1 else H
            H = (identity - rho * np.outer(s, y)) @ H @ (identity - rho * np.outer(y, s))
            H = H + rho * np.outer(s, s)
            np.testing.assert_allclose(H @ y, s, rtol=1e-9)
        np.testing.assert_allclose(state.inverse_hessian[t], H, rtol=1e-6)
        direction = -H @ g if t > 0 else -g / np.linalg.norm(g)
        alpha = state.linesearch.learning_rate[t]
        np.testing.assert_allclose(ws[t + 1] - w, alpha * direction, rtol=1e-6)
        slope = rosenbrock_gradient(ws[t + 1]) @ direction
        assert abs(slope) <= 0.9 * abs(g @ direction)
        assert values[t + 1] <= values[t] + 1e-4 * alpha * (g @ direction)
    assert (state.skipped == 0).all()
    np.testing.assert_array_equal(state.pairs, np.arange(15))


def test_on_a_quadratic_the_matrix_becomes_the_inverse_in_as_many_steps_as_dimensions():
    with jax.enable_x64(True):
        A, loss = quadratic(6, 1e3)
        exact = optax.scale_by_zoom_linesearch(
            50, curv_rtol=1e-11, stepsize_precision=1e-15, initial_guess_strategy="one"
        )
        ws, _, state = descend(ot.bfgs(linesearch=exact), loss, jnp.ones(6), 7)
        np.testing.assert_allclose(ws[6], 0, atol=1e-6)
        np.testing.assert_allclose(state.inverse_hessian[6] @ A, np.eye(6), atol=1e-4)
        far = np.abs(state.inverse_hessian[3] @ A - np.eye(6)).max()
        assert far > 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_inverse_stays_what_it_is_after_convergence(dtype):
    """Minima at zero and away from it; there a value of zero or another."""
    with jax.enable_x64(dtype == "float64"):
        A, bowl = quadratic(6, 1e3)
        away = np.random.default_rng(0).normal(size=6)

        def inverses(centre, pull):
            _, _, state = way(
                ot.bfgs(), lambda w: bowl(w - centre) - pull @ w, jnp.ones(6, dtype), 200
            )
            return state.inverse_hessian

        none = np.zeros(6)
        centres, pulls = np.array([[none, away, none], [none, none, A @ away]], dtype)
        found = np.asarray(jax.jit(jax.vmap(inverses))(centres, pulls), float)
    error = np.abs(found @ A - np.eye(6)).max(axis=(2, 3))
    assert (error.min(axis=1) < 0.2).all()
    assert (error[:, 60:] < 0.7).all()  # that of the identity is 0.93


@pytest.mark.parametrize("n", [2, 10])
def test_it_finds_the_minimum_of_rosenbrock_as_fast_as_scipy(n):
    with jax.enable_x64(True):
        start = rosenbrock_start(n)
        _, values, state = descend(ot.bfgs(), rosenbrock, start, 110)
        theirs = scipy.optimize.minimize(
            jax.jit(rosenbrock),
            np.asarray(start),
            jac=jax.jit(jax.grad(rosenbrock)),
            method="BFGS",
            options={"gtol": 1e-7},
        )
        needed = np.argmax(values < 1e-12)
        assert values[-1] < 1e-18
        assert needed <= 1.2 * theirs.nit
        assert state.linesearch.info.num_linesearch_steps[:needed].sum() <= 1.3 * (
            theirs.nfev
        )


def test_it_ends_where_scipy_does():
    with jax.enable_x64(True):
        loss, minimum = logistic_regression()
        ws, _, _ = descend(ot.bfgs(), loss, jnp.zeros(5), 40)
        np.testing.assert_allclose(ws[-1], minimum, atol=1e-6)


def test_optaxs_other_line_search_can_take_the_place():
    """It knows no curvature condition: pairs without curvature are left out."""
    backtracking = optax.scale_by_backtracking_linesearch(
        20, increase_factor=float("inf")
    )
    with jax.enable_x64(True):
        start = rosenbrock_start(2)
        tx = ot.bfgs(linesearch=backtracking)
        _, values, _ = descend(tx, rosenbrock, start, 60)
        assert (np.diff(values) <= 0).all()
        assert values[-1] < 1e-12


def test_a_pair_without_positive_curvature_is_left_out():
    """Two points of a concave function, by hand: no line search leads there."""

    def bowl(w):
        return jnp.sum(w**2)

    tx = ot.bfgs()
    _, state = one_step(tx, bowl, jnp.ones(3))
    before = state._replace(params=jnp.zeros(3), updates=3 * jnp.ones(3))
    _, after = one_step(tx, bowl, jnp.ones(3), before)  # y = -1, s = 1
    assert (after.skipped, after.pairs) == (1, 0)
    np.testing.assert_array_equal(after.inverse_hessian, jnp.eye(3))


def test_a_matrix_that_gives_no_descent_is_dropped():
    def bowl(w):
        return jnp.sum(w**2)

    tx = ot.bfgs()
    _, state = one_step(tx, bowl, jnp.ones(3))
    same_point = {"params": jnp.ones(3), "updates": 2 * jnp.ones(3)}
    broken = state._replace(inverse_hessian=-jnp.eye(3), pairs=jnp.int32(4), **same_point)
    step, after = one_step(tx, bowl, jnp.ones(3), broken)
    assert after.pairs == 0
    np.testing.assert_array_equal(after.inverse_hessian, jnp.eye(3))
    assert bowl(1 + step) < bowl(jnp.ones(3))


def test_a_search_that_fails_forgets_what_was_gathered():
    def uphill(w):
        """Its gradient has the wrong sign, so that every step leads higher."""
        return 2 * jax.lax.stop_gradient(jnp.sum(w**2)) - jnp.sum(w**2)

    tx = ot.bfgs(linesearch=optax.scale_by_backtracking_linesearch(2))
    _, state = one_step(tx, uphill, jnp.ones(3))
    known = {"inverse_hessian": 2 * jnp.eye(3), "pairs": jnp.int32(4)}
    known |= {"steepest": jnp.float32(3), "params": jnp.ones(3)}
    step, after = one_step(tx, uphill, jnp.ones(3), state._replace(**known))
    np.testing.assert_array_equal(step, jnp.zeros(3))
    assert (after.pairs, after.steepest) == (0, 0)
    np.testing.assert_array_equal(after.inverse_hessian, jnp.eye(3))


def test_too_many_parameters_are_refused_with_a_way_out():
    shapes = {"kernel": jax.ShapeDtypeStruct((100, 101), jnp.float32)}
    with pytest.raises(ValueError, match=r"at most 10,000.*got 10,100: use lbfgs"):
        ot.bfgs().init(shapes)


def test_ten_thousand_parameters_are_taken():
    square = jax.ShapeDtypeStruct((100, 100), jnp.float32)
    state = jax.eval_shape(ot.bfgs().init, square)
    assert state.inverse_hessian.shape == (10_000, 10_000)
