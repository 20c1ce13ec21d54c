"""Escape directions against curvatures known by hand; the loss falls along them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import escape_direction, taylor_model


def double_well(w):
    return w[0] ** 2 - w[1] ** 2 + w[1] ** 4


@pytest.mark.parametrize("height", [0.0, 0.05, -0.05])
def test_an_escape_direction_points_down_and_reaches_as_far_as_its_model(height):
    w = jnp.array([0.0, height])
    way = escape_direction(double_well, w, key=jax.random.key(0))
    np.testing.assert_allclose(way.curvature, -2 + 12 * height**2, rtol=1e-5)
    np.testing.assert_allclose(jnp.abs(way.direction), [0, 1], atol=1e-6)
    np.testing.assert_allclose(
        way.slope, -abs(-2 * height + 4 * height**3), rtol=1e-5, atol=1e-7
    )
    assert way.residual < 1e-5
    assert way.slope <= 0
    third = 24 * abs(height) + 24 * 0.3  # its bound for steps up to 0.3
    ts = np.linspace(0.01, min(0.3, 3 * 1.97 / third), 10)
    fall = taylor_model(double_well, w, way.direction, ts=ts)
    assert (fall.loss < fall.derivatives[0]).all()


def test_an_escape_direction_of_a_tree_has_norm_one_and_is_traceable():
    tree = {"a": jnp.ones((2, 3), jnp.float16), "b": jnp.ones(())}

    def loss(w):
        return jnp.sum(w["a"].astype(jnp.float32) ** 2) - w["b"] ** 2

    way = jax.jit(lambda w: escape_direction(loss, w, key=jax.random.key(1)))(tree)
    assert way.direction["a"].shape == (2, 3)
    assert way.direction["b"].dtype == jnp.float32
    np.testing.assert_allclose(way.direction["b"], 1, rtol=1e-5)  # downhill from 1
    np.testing.assert_allclose([way.curvature, way.slope], [-2, -2], rtol=1e-5)
