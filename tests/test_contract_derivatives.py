"""Derivatives through updates, as meta-gradients ask for: finite where a norm is zero.

Columns of the contract for every row, in a few programs, on two leaves of which one has
no gradient, no weights, or neither. Methods that loop until they are done have forward
derivatives alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import LINKS, OPTIMISERS, SECOND_ORDER, WRAPPERS

from optix_tricks._tree import safe_divide, safe_sqrt

WEIGHTS, PARAMS, GRADS, *ALONG = np.random.default_rng(0).normal(size=(5, 2, 2, 3))
STEP = 1e-6
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def two_leaves(x, share):
    return {"generic": x[0], "special": share * x[1]}


# Weights and gradients of the special leaf: all there, and what may be zero.
POINTS = [(two_leaves(PARAMS, w), two_leaves(GRADS, g)) for w in (1, 0) for g in (1, 0)]
POINTS += [(POINTS[0][0], jax.tree.map(np.zeros_like, POINTS[0][1]))]


def after_two_updates(case):
    """A number that depends on all of the second update."""
    tx = case.build()

    def step(carry, _):
        params, grads, state = carry
        updates, state = tx.update(grads, state, params)
        return (jax.tree.map(jnp.add, params, updates), grads, state), updates

    def outcome(params, grads):
        carry = (params, grads, tx.init(params))
        _, updates = jax.lax.scan(step, carry, length=2)
        parts = jax.tree.map(
            lambda c, u: jnp.sum(c * u[1]), two_leaves(WEIGHTS, 1), updates
        )
        return sum(jax.tree.leaves(parts))

    return outcome


def compiled(program):
    return jax.jit(program).lower(*POINTS[0]).compile(QUICK)


def is_finite(tree):
    return all(np.isfinite(x).all() for x in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "cases",
    [
        list({case.public: case for case in LINKS[::-1]}.values()),
        list({case.public: case for case in (OPTIMISERS + WRAPPERS)[::-1]}.values()),
        pytest.param(LINKS + OPTIMISERS + WRAPPERS, marks=pytest.mark.slow),
    ],
    ids=["links", "optimisers and wrappers", "further settings too"],
)
def test_gradients_through_two_updates(cases):
    def measure(*point):
        return {
            case.name: jax.value_and_grad(after_two_updates(case), (0, 1))(*point)
            for case in cases
        }

    with jax.enable_x64(True):
        program = compiled(measure)
        for point in POINTS:
            unfit = [name for name, x in program(*point).items() if not is_finite(x)]
            assert unfit == []
        along = tuple(two_leaves(x, 1) for x in ALONG)
        ahead, behind = (
            program(*jax.tree.map(lambda x, d, h=h: x + h * d, POINTS[0], along))
            for h in (STEP, -STEP)
        )
        for name, (_, gradients) in program(*POINTS[0]).items():
            slopes = jax.tree.map(lambda x, d: np.sum(x * d), gradients, along)
            difference = (ahead[name][0] - behind[name][0]) / (2 * STEP)
            found = sum(jax.tree.leaves(slopes))
            np.testing.assert_allclose(found, difference, 1e-5, 1e-8, err_msg=name)


def test_forward_derivatives_of_methods_that_loop():
    def measure(*point):
        return {
            case.name: jax.jvp(after_two_updates(case), point, POINTS[0])
            for case in SECOND_ORDER
        }

    with jax.enable_x64(True):
        program = compiled(measure)
        for point in POINTS:
            assert [n for n, x in program(*point).items() if not is_finite(x)] == []


def test_nothing_on_the_way_is_nan():
    """Op by op, as `jax_debug_nans` looks for it."""
    zeros = jnp.zeros((2, 2))
    for case in LINKS + OPTIMISERS + WRAPPERS:
        tx = case.build()
        state = tx.init(zeros)
        with jax.debug_nans(True):
            for w in (zeros, zeros + 1):
                updates, state = tx.update(zeros, state, w)
        assert jnp.isfinite(updates).all()


def test_the_root_and_the_quotient_add_nothing_to_what_they_compute():
    def norm(sqrt):
        return lambda x: sqrt(jnp.sum(x * x))

    def program(sqrt):
        return jax.jit(norm(sqrt)).lower(jnp.ones(5)).compile().cost_analysis()

    assert program(safe_sqrt) == program(jnp.sqrt)
    x = jnp.array([0.0, 3.0])
    assert jax.grad(norm(safe_sqrt))(jnp.zeros(3)).tolist() == [0, 0, 0]
    hessian = jax.hessian(norm(safe_sqrt))
    np.testing.assert_allclose(hessian(x), jax.hessian(norm(jnp.sqrt))(x), 1e-6)
    assert is_finite(hessian(jnp.zeros(2)))
    assert jax.jacobian(safe_divide, (0, 1))(2.0, 0.0) == (0, 0)
    assert np.isnan(safe_sqrt(jnp.float32(-1.0)))
    assert np.isnan(jax.grad(norm(safe_sqrt))(jnp.array([jnp.nan]))).all()
