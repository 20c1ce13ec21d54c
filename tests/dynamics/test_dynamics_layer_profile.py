"""Layer profiles against the chain rule by hand, and nets that vanish, explode or die."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from optix_tricks.dynamics import layer_profile
from optix_tricks.dynamics.diagnosis._layer_profile import _by_depth
from optix_tricks.initializers import variance_by_depth

KEY = jax.random.key(0)


def net(kernel_init, *, norm=None, phi=nnx.relu, depth=10, width=64):
    rngs = nnx.Rngs(0)
    parts = []
    for _ in range(depth):
        parts.append(nnx.Linear(width, width, kernel_init=kernel_init, rngs=rngs))
        parts += [] if norm is None else [norm(width, rngs=rngs)]
        parts.append(phi)
    return nnx.Sequential(*parts)


def profile(model, width=64, **arguments):
    x, v = jax.random.normal(KEY, (2, 128, width))
    return layer_profile(model, x, loss=lambda y: jnp.mean(v * y), **arguments)


class Small(nnx.Module):
    """Two of the six units are off for every example, one of them by its bias."""

    def __init__(self, dtype=None):
        self.second = nnx.Linear(6, 3, dtype=dtype, rngs=nnx.Rngs(0))
        self.first = nnx.Linear(4, 6, dtype=dtype, rngs=nnx.Rngs(1))
        self.norm = nnx.BatchNorm(6, rngs=nnx.Rngs(2))
        self.first.bias[...] = self.first.bias[...].at[2].set(-100.0)
        self.norm.bias[...] = self.norm.bias[...].at[5].set(-100.0)

    def __call__(self, x, *, train):
        h = self.norm(self.first(x), use_running_average=not train)
        return self.second(nnx.relu(h))


def test_matches_the_chain_rule_by_hand():
    model, x = Small(), jax.random.normal(KEY, (10, 4))
    found = layer_profile(model, x, loss=lambda y: (y**3).mean(), train=False)
    w1, w2 = (np.asarray(m.kernel, np.float64) for m in (model.first, model.second))
    b1, b2 = (np.asarray(m.bias, np.float64) for m in (model.first, model.second))
    shift = np.asarray(model.norm.bias, np.float64)
    y1 = np.asarray(x, np.float64) @ w1 + b1
    normed = y1 / np.sqrt(1 + 1e-5) + shift
    h = np.maximum(normed, 0)
    y2 = h @ w2 + b2
    g2 = 3 * y2**2 / y2.size
    g1 = g2 @ w2.T * (normed > 0) / np.sqrt(1 + 1e-5)
    assert found.paths == ("first", "second")
    rows = [(y1, g1, w1, b1, np.asarray(x)), (y2, g2, w2, b2, h)]
    for i, (y, g, w, b, inputs) in enumerate(rows):
        by_weights = np.linalg.norm(np.vstack([inputs.T @ g, g.sum(0)]))
        expected = {
            "activation_rms": np.sqrt(np.mean(y**2)),
            "activation_variance": y.var(),
            "never_positive": np.mean((y <= 0).all(0)),
            "dead": np.mean((g == 0).all(0)),
            "gradient_rms": np.sqrt(np.mean(g**2)),
            "gradient_norm": np.linalg.norm(g),
            "weight_gradient_ratio": by_weights / np.linalg.norm(np.vstack([w, b])),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(getattr(found, name)[i], value, rtol=1e-4)
    np.testing.assert_allclose(found.dead, [2 / 6, 0])
    np.testing.assert_allclose(found.never_positive[0], 1 / 6)  # the norm's bias is after
    assert found.verdict == "undecided"  # two layers make no trend
    assert math.isnan(found.slope)


def test_the_variances_are_those_by_depth_and_the_model_is_left_as_it_was():
    model, x = Small(jnp.bfloat16), jax.random.normal(KEY, (10, 4))
    before = jax.tree.map(jnp.copy, nnx.state(model))
    found = layer_profile(model, x, loss=jnp.sum, train=True)
    same = variance_by_depth(model, x, loss=jnp.sum, train=True)
    np.testing.assert_allclose(found.activation_variance, same.activation, rtol=1e-6)
    assert found.gradient_rms.dtype == found.dead.dtype == jnp.float32
    jax.tree.map(np.testing.assert_array_equal, nnx.state(model), before)


@pytest.mark.parametrize(
    ("scale", "verdict"), [(0.5, "vanishing"), (1.0, "steady"), (2.0, "exploding")]
)
def test_the_slope_of_a_linear_net_is_the_logarithm_of_its_scale(scale, verdict):
    found = profile(net(nnx.initializers.orthogonal(scale), phi=lambda x: x))
    np.testing.assert_allclose(found.slope, -math.log(scale), atol=1e-5)
    assert found.slope_error < 1e-5
    assert found.verdict == verdict
    np.testing.assert_allclose(
        found.activation_rms, found.activation_rms[0] * scale ** np.arange(10), rtol=1e-4
    )
    np.testing.assert_array_equal(found.dead, np.zeros(10))


@pytest.mark.parametrize(
    ("kernel_init", "norm", "verdict"),
    [
        (nnx.initializers.normal(0.01), None, "vanishing"),
        (nnx.initializers.he_normal(), None, "steady"),
        (nnx.initializers.normal(0.01), nnx.LayerNorm, "steady"),
        (nnx.initializers.he_normal(), nnx.BatchNorm, "exploding"),
    ],
)
def test_initialisers_and_norms_of_a_deep_relu_net(kernel_init, norm, verdict):
    """With batch norm the gradient grows by sqrt(π / (π - 1)) a layer."""
    found = profile(net(kernel_init, norm=norm), factor=3.0)
    assert found.verdict == verdict
    if norm is nnx.BatchNorm:
        rate = -math.log(math.pi / (math.pi - 1)) / 2
        np.testing.assert_allclose(found.slope, rate, atol=0.03)


def test_nothing_arrives_below_dead_units():
    model = net(nnx.initializers.he_normal(), depth=4)
    model.layers[4].bias[...] = jnp.full(64, -100.0)  # the third layer
    found = profile(model)
    np.testing.assert_array_equal(found.dead[:3], 1)
    np.testing.assert_array_equal(found.never_positive[2], 1)
    assert found.never_positive[1] < 0.1
    assert found.verdict == "undecided"  # no gradient at all: its depth is no trend
    model.layers[4].bias[...] = jnp.zeros(64).at[:16].set(-100.0)
    np.testing.assert_allclose(profile(model).dead[2], 0.25)


def test_what_changes_by_leaps_is_undecided_and_overflow_is_exploding():
    scales = iter([1.0, 1.0, 1e-3, 1.0, 1.0, 1.0])

    def init(key, shape, dtype=jnp.float32, out_sharding=None):
        return nnx.initializers.orthogonal(next(scales))(key, shape, dtype)

    assert profile(net(init, phi=lambda x: x, depth=6)).verdict == "undecided"
    large = net(nnx.initializers.orthogonal(1e30), phi=lambda x: x, depth=4)
    assert profile(large).verdict == "exploding"


def test_gradients_too_small_to_be_squared_are_still_measured():
    small = net(nnx.initializers.orthogonal(1e-5), phi=lambda x: x, depth=6)
    found = profile(small)
    assert 0 < found.gradient_norm[0] < 1e-24
    np.testing.assert_allclose(found.slope, math.log(1e5), rtol=1e-4)


def test_of_a_convolution_a_unit_is_a_channel():
    rngs = nnx.Rngs(0)
    conv = nnx.Conv(3, 8, (3, 3), rngs=rngs)
    conv.bias[...] = jnp.zeros(8).at[0].set(-100.0)
    model = nnx.Sequential(conv, nnx.relu, functools.partial(jnp.mean, axis=(1, 2)))
    x = jax.random.normal(KEY, (4, 6, 6, 3))
    found = layer_profile(model, x, loss=lambda y: jnp.sum(y**2))
    np.testing.assert_allclose(found.dead, [1 / 8])
    np.testing.assert_allclose(found.never_positive, [1 / 8])


def test_the_trend_by_depth_is_that_of_scipy_and_holds_by_two_errors():
    y = np.random.default_rng(0).normal(size=9) + np.arange(9)
    for count in (3, 9):
        line = stats.linregress(np.arange(count), y[:count])
        slope, error, _ = _by_depth(np.exp(y[:count]), 2.0)
        assert (slope, error) == pytest.approx((line.slope, line.stderr))
    low, high = (8 * (slope + k * error) for k in (-2, 2))
    for factor, verdict in (
        (np.exp(low) * 0.999, "vanishing"),
        (np.exp(low) * 1.001, "undecided"),
        (np.exp(high) * 0.999, "undecided"),
        (np.exp(high) * 1.001, "steady"),
    ):
        assert _by_depth(np.exp(y), factor)[2] == verdict
        mirrored = {"vanishing": "exploding"}.get(verdict, verdict)
        assert _by_depth(np.exp(-y), factor)[2] == mirrored
    for norms in ([1.0, 4.0, 16.0], [16.0, 4.0, 1.0]):  # by no more than the factor
        assert _by_depth(np.array(norms), 16.0)[2] == "steady"
    assert _by_depth(np.array([1.0, 2.0]), 16.0)[2] == "undecided"


def test_a_factor_near_one_is_taken():
    assert profile(net(nnx.initializers.he_normal(), depth=1), factor=1.5).paths


@pytest.mark.parametrize(
    ("factor", "message"),
    [(1.0, "factor must be above 1, got 1.0"), (-2.0, "factor must be positive, got -2")],
)
def test_a_factor_that_allows_no_change_is_refused(factor, message):
    with pytest.raises(ValueError, match=message):
        profile(net(nnx.initializers.he_normal(), depth=1), factor=factor)


def test_a_model_without_layers_raises():
    with pytest.raises(ValueError, match="at least one layer of the model, got none"):
        profile(nnx.Sequential(nnx.relu))
