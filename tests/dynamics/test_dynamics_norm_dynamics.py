"""What a step does to a layer's norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optix_tricks as ot
from optix_tricks.dynamics import weight_norms

RATE, DECAY = 0.3, 0.02


def layer(seed=0, size=1000, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(size).astype(dtype) for _ in range(3)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_two_halves_of_an_sgd_step_make_its_change(dtype):
    w, g, _ = layer(dtype=dtype)
    with jax.enable_x64(dtype is np.float64):
        found = weight_norms(
            jnp.asarray(w),
            jnp.asarray(g),
            updates=jnp.asarray((-RATE * (g + DECAY * w)).astype(dtype)),
            learning_rate=RATE,
            weight_decay=DECAY,
        )
    w, g = w.astype(np.float64), g.astype(np.float64)
    decayed = (1 - RATE * DECAY) * w
    square = w @ w
    tolerance = {"rtol": 0, "atol": 1e-6 * square}
    np.testing.assert_allclose(found.square_norm, square, rtol=1e-6)
    np.testing.assert_allclose(found.shrink, square - decayed @ decayed, **tolerance)
    after = decayed - RATE * g
    np.testing.assert_allclose(
        found.growth, after @ after - decayed @ decayed, **tolerance
    )
    np.testing.assert_allclose(found.change, after @ after - square, **tolerance)
    np.testing.assert_allclose(found.growth - found.shrink, found.change, **tolerance)
    cosine = w @ g / np.sqrt(square * (g @ g))
    np.testing.assert_allclose(found.weight_cosine, cosine, atol=1e-6)
    np.testing.assert_allclose(
        found.relative_update, RATE * np.sqrt(g @ g / square), rtol=1e-6
    )
    np.testing.assert_allclose(found.gradient_square, g @ g, rtol=1e-6)
    assert np.isnan(found.trace_cosine)


def test_an_orthogonal_gradient_only_lengthens():
    w, g, _ = layer()
    g = g - (g @ w) / (w @ w) * w
    with jax.enable_x64(True):
        found = weight_norms(
            jnp.asarray(w),
            jnp.asarray(g),
            updates=jnp.asarray(-RATE * g),
            learning_rate=RATE,
            momentum=0.5,
        )
    assert float(found.growth) == pytest.approx((RATE / 0.5) ** 2 * (g @ g))
    assert float(found.change) == pytest.approx(RATE**2 * (g @ g))
    assert abs(float(found.weight_cosine)) < 1e-12
    assert float(found.shrink) == 0


@pytest.mark.parametrize("angle", [1e-7, 1e-4, 0.5, 2.0])
def test_angles_are_right_in_float32(angle):
    w, u, _ = layer(dtype=np.float32)
    u = u - (u @ w) / (w @ w) * w
    u *= np.linalg.norm(w) / np.linalg.norm(u)
    step = (np.cos(angle) - 1) * w.astype(float) + np.sin(angle) * u.astype(float)
    found = weight_norms(
        jnp.asarray(w),
        jnp.asarray(u),
        updates=jnp.asarray(step.astype(np.float32)),
        learning_rate=1.0,
    )
    assert float(found.rotation) == pytest.approx(angle, rel=2e-6)


def test_masked_layers_layers_of_zeros_and_16_bits():
    params = {
        "conv": {"kernel": jnp.full((2, 3), 200, jnp.float16), "bias": jnp.ones(3)},
        "head": jnp.zeros((3, 2), jnp.bfloat16),
    }
    g = jax.tree.map(jnp.ones_like, params)
    found = weight_norms(params, g, updates=g, learning_rate=0.1, mask=ot.no_bias_or_norm)
    assert found.square_norm["conv"]["bias"] is None
    assert float(found.square_norm["conv"]["kernel"]) == 240_000  # inf in float16
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    assert float(found.square_norm["head"]) == 0
    for name in ("relative_update", "weight_cosine"):
        assert np.isnan(getattr(found, name)["head"])
    assert np.isnan(found.rotation["head"])


def test_what_does_not_match_raises():
    w = {"a": jnp.ones(2)}
    with pytest.raises(
        ValueError, match="gradients must be a tree shaped like the param"
    ):
        weight_norms(w, {"b": jnp.ones(2)}, updates=w, learning_rate=0.1)
    with pytest.raises(ValueError, match="updates must be a tree shaped like the param"):
        weight_norms(w, w, updates={"a": jnp.ones(3)}, learning_rate=0.1)
