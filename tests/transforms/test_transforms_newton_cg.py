"""Newton-CG against the textbook's algorithms in NumPy and against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
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
from optix_tricks.transforms._newton_cg import steihaug


def textbook_cg(B, g, radius, tolerance, max_steps=100):
    """Nocedal and Wright, algorithm 7.2; the root from the quadratic formula."""
    z, r, d = np.zeros_like(g), g.copy(), -g

    def on_boundary():
        a, b, c = d @ d, 2 * z @ d, z @ z - radius**2
        return z + (-b + np.sqrt(b * b - 4 * a * c)) / (2 * a) * d

    if np.linalg.norm(r) <= tolerance:
        return z, False
    for _ in range(max_steps):
        curvature = d @ B @ d
        if curvature <= 0:
            return on_boundary(), True
        alpha = r @ r / curvature
        if np.linalg.norm(z + alpha * d) >= radius:
            return on_boundary(), False
        z = z + alpha * d
        before, r = r, r + alpha * B @ d
        if np.linalg.norm(r) <= tolerance:
            return z, False
        d = -r + (r @ r) / (before @ before) * d
    return z, False


def textbook_newton(f, gradient, hessian, w, steps, radius=1.0, min_ratio=0.1):
    """Algorithm 4.1, with the region shrunk to a quarter of the step."""
    ws, radii = [], []
    for _ in range(steps):
        ws.append(w)
        g, B = gradient(w), hessian(w)
        size = np.linalg.norm(g)
        p, _ = textbook_cg(B, g, radius, min(0.5, np.sqrt(size)) * size)
        ratio = (f(w) - f(w + p)) / -(g @ p + p @ B @ p / 2)
        if ratio < 0.25:
            radius = np.linalg.norm(p) / 4
        elif ratio > 0.75 and np.isclose(np.linalg.norm(p), radius, rtol=1e-9):
            radius = min(2 * radius, 1000.0)
        w = w + p if ratio > min_ratio else w
        radii.append(radius)
    return np.array(ws), np.array(radii)


@pytest.mark.parametrize("shift", [0.1, -0.3, -2.0])
@pytest.mark.parametrize("radius", [0.1, 1.0, 30.0])
def test_the_inner_solver_is_the_textbooks(shift, radius):
    """Positive definite, indefinite and negative definite; inside and at the boundary."""
    with jax.enable_x64(True):
        B = quadratic(6, 1e3, seed=1)[0] + shift * np.eye(6)
        g = np.random.default_rng(2).standard_normal(6)
        want, negative = textbook_cg(B, g, radius, 1e-9)
        got = steihaug(
            lambda d: jnp.asarray(B) @ d,
            jnp.asarray(g),
            radius=jnp.asarray(radius),
            tolerance=jnp.asarray(1e-9),
            max_steps=100,
        )
        np.testing.assert_allclose(got.p, want, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(got.residual, g + B @ want, rtol=1e-6, atol=1e-8)
        assert got.negative_curvature == negative
        assert np.linalg.norm(got.p) <= radius * (1 + 1e-12)


def test_it_goes_the_way_of_the_textbook():
    """Rosenbrock's valley by hand, with steps at the boundary, inside, and rejected."""

    def f(w):
        return 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2

    def gradient(w):
        valley = w[1] - w[0] ** 2
        return np.array([-400 * w[0] * valley - 2 * (1 - w[0]), 200 * valley])

    def hessian(w):
        return np.array(
            [
                [1200 * w[0] ** 2 - 400 * w[1] + 2, -400 * w[0]],
                [-400 * w[0], 200.0],
            ]
        )

    with jax.enable_x64(True):
        want, radii = textbook_newton(f, gradient, hessian, np.array([-1.2, 1.0]), 20)
        ws, values, state = descend(ot.newton_cg(), rosenbrock, rosenbrock_start(2), 20)
        np.testing.assert_allclose(ws, want, rtol=1e-7)
        np.testing.assert_allclose(state.radius, radii, rtol=1e-7)
        moved = np.any(np.diff(ws, axis=0) != 0, axis=1)
        np.testing.assert_array_equal(moved, state.accepted[:-1])
        assert 0 < moved.sum() < moved.size
        assert (np.diff(values) <= 0).all()


@pytest.mark.parametrize("n", [2, 10])
def test_it_finds_the_minimum_of_rosenbrock_as_fast_as_scipy(n):
    with jax.enable_x64(True):
        start = rosenbrock_start(n)
        _, values, _ = descend(ot.newton_cg(), rosenbrock, start, 110)
        theirs = scipy.optimize.minimize(
            jax.jit(rosenbrock),
            np.asarray(start),
            jac=jax.jit(jax.grad(rosenbrock)),
            hess=jax.jit(jax.hessian(rosenbrock)),
            method="trust-ncg",
            options={"gtol": 1e-7},
        )
        assert values[-1] < 1e-18
        assert np.argmax(values < max(theirs.fun, 1e-14)) <= theirs.nit + 5


def test_a_quadratic_takes_one_step_within_the_region_and_more_at_its_boundary():
    with jax.enable_x64(True):
        _, loss = quadratic(8, 1e4)
        w = jnp.ones(8)
        exact = {"forcing": 1e-12}
        step, state = one_step(ot.newton_cg(100.0, **exact), loss, w)
        np.testing.assert_allclose(w + step, 0, atol=1e-7)
        assert state.ratio == pytest.approx(1)
        assert 8 <= state.cg_steps < 16
        step, state = one_step(ot.newton_cg(0.5, **exact), loss, w)
        assert np.linalg.norm(step) == pytest.approx(0.5)
        assert state.radius == 1.0


def test_logistic_regression_ends_where_scipy_does():
    with jax.enable_x64(True):
        loss, minimum = logistic_regression()
        ws, _, _ = descend(ot.newton_cg(), loss, jnp.zeros(5), 15)
        np.testing.assert_allclose(ws[-1], minimum, atol=1e-8)


def two_wells(w):
    """A saddle between two minima of value -1/4 at (0, 1) and (0, -1)."""
    return w[0] ** 2 / 2 - w[1] ** 2 / 2 + w[1] ** 4 / 4


def test_negative_curvature_is_followed_to_the_boundary():
    step, state = one_step(ot.newton_cg(0.25), two_wells, jnp.array([1e-3, 1e-2]))
    assert state.negative_curvature
    assert np.linalg.norm(step) == pytest.approx(0.25, rel=1e-6)
    assert step[1] > 0
    _, state = one_step(ot.newton_cg(0.25), two_wells, jnp.array([0.3, 0.9]))
    assert not state.negative_curvature


def test_from_anywhere_the_loss_never_rises_and_ends_in_a_minimum():
    """A batch of starts by vmap, near the saddle and far out."""
    rng = np.random.default_rng(0)
    starts = jnp.float32(
        rng.standard_normal((20, 2)) * np.geomspace(1e-3, 10, 20)[:, None]
    )
    _, values, state = jax.vmap(lambda w: way(ot.newton_cg(), two_wells, w, 25))(starts)
    assert (np.diff(values, axis=1) <= 1e-6).all()
    np.testing.assert_allclose(values[:, -1], -0.25, atol=1e-6)
    assert (state.accepted.mean(axis=1) > 0.5).all()


def test_an_exact_saddle_is_not_left():
    """There is no gradient to start from: that is what escape_saddle is for."""
    step, state = one_step(ot.newton_cg(), two_wells, jnp.zeros(2))
    assert (step == 0).all()
    assert (state.ratio, state.cg_steps, state.radius) == (1, 0, 1)


def test_a_step_to_where_the_loss_is_not_finite_is_refused():
    def barrier(w):
        return jnp.sum(w - jnp.log(w))  # NaN for negative w, minimum at 1

    ws, values, state = descend(ot.newton_cg(10.0), barrier, jnp.full(3, 5.0), 20)
    assert not state.accepted[0]
    assert np.isfinite(values).all()
    np.testing.assert_allclose(ws[-1], 1, rtol=1e-3)


def test_a_gradient_that_is_not_finite_moves_nothing_and_shows_in_the_ratio():
    step, state = one_step(ot.newton_cg(), lambda w: jnp.sum(w) * jnp.nan, jnp.ones(2))
    assert (step == 0).all()
    assert np.isnan(state.ratio)
    assert state.radius == 1


def test_the_largest_radius_can_follow_a_schedule():
    tx = ot.newton_cg(8.0, lambda count: 4.0 / 2.0**count, forcing=0.01)
    _, _, state = descend(tx, quadratic(4, 1.0)[1], jnp.full(4, 100.0), 4)
    np.testing.assert_allclose(state.radius, [4.0, 2.0, 1.0, 0.5])


def test_at_the_minimum_in_float32_it_stays_though_the_loss_is_all_rounding():
    def loss(w):
        return 100 + jnp.sum((w - 1) ** 2)

    ws, _, state = descend(ot.newton_cg(), loss, jnp.array([1.01, 0.99]), 10)
    np.testing.assert_allclose(ws[-1], 1, atol=1e-6)
    assert state.accepted.all()
    assert (state.radius >= 0.5).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initial_radius", 0.0),
        ("max_radius", -1.0),
        ("min_ratio", 1.5),
        ("forcing", -0.1),
        ("max_cg_steps", 0),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        ot.newton_cg(**{name: value})


@pytest.mark.parametrize(
    ("lost", "radius", "after"),
    [
        (0.375, 2.0, 2.0),  # a ratio of 1/4 keeps the region
        (0.4, 2.0, 0.25),  # less makes it a quarter of the step
        (0.125, 1.0, 1.0),  # 3/4 at the boundary keeps it
        (0.1, 1.0, 2.0),  # more doubles it
    ],
)
def test_the_region_follows_the_ratio(lost, radius, after):
    """From 0 the model's step is 1 and its promise 1/2, of which a quartic takes."""
    with jax.enable_x64(True):
        _, state = one_step(
            ot.newton_cg(radius), lambda w: lost * w**4 + w**2 / 2 - w, jnp.zeros(())
        )
        assert float(state.ratio) == pytest.approx(1 - 2 * lost, rel=1e-15)
        assert float(state.radius) == after


def test_a_step_is_taken_above_the_least_ratio_alone():
    for lost, accepted in ((0.375, False), (0.374, True)):
        step, state = one_step(
            ot.newton_cg(2.0, min_ratio=0.25),
            lambda w, lost=lost: lost * w**4 + w**2 / 2 - w,
            jnp.zeros(()),
        )
        assert bool(state.accepted) == accepted
        assert float(step) == accepted


def test_there_are_at_most_as_many_products_as_allowed():
    _, loss = quadratic(8, 1e4)
    for most in (1, 2):
        tx = ot.newton_cg(100.0, forcing=1e-12, max_cg_steps=most)
        assert int(one_step(tx, loss, jnp.ones(8))[1].cg_steps) == most


def test_without_curvature_the_step_goes_to_the_boundary():
    g = jnp.array([3.0, -4.0])
    step, state = one_step(ot.newton_cg(0.5), lambda w: g @ w, jnp.zeros(2))
    np.testing.assert_allclose(step, [-0.3, 0.4], rtol=1e-6)
    assert state.negative_curvature
