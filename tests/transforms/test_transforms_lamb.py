"""LAMB: the paper's algorithm, bounds of the ratio, layers whose norm is zero."""

import chex
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import assert_link_follows, assert_optimiser_follows, dtypes, noise

import optix_tricks as ot


def size_of(x, least=0.0):
    return max(np.sqrt(np.sum(x * x)), least)


def ratios(
    gs, ws, min_norm=0.0, trust_coefficient=1.0, eps=0.0, min_ratio=0.0, max_ratio=1e300
):
    out = []
    for u, w in zip(gs, ws, strict=True):
        ratio = size_of(w, min_norm) / (size_of(u, min_norm) + eps)
        out.append(trust_coefficient * np.clip(ratio, min_ratio, max_ratio) * u)
    return np.array(out)


def algorithm_2(gs, w, lr, b1, b2, eps, weight_decay, low=0.0, high=1e300):
    """You et al. 2020 with phi(z) = min(max(z, low), high)."""
    m, v, out = 0.0, 0.0, []
    for t, g in enumerate(gs, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        r = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        step = r + weight_decay * w
        w = w - lr * np.clip(size_of(w), low, high) / size_of(step) * step
        out.append(w)
    return np.array(out)


def once(tx, u, w):
    return tx.update(u, tx.init(w), w)


@dtypes
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"min_norm": 5.0, "trust_coefficient": 0.02, "eps": 0.5},
        {"min_ratio": 0.8, "max_ratio": 1.2, "trust_coefficient": 0.3},
    ],
)
def test_the_ratio_follows_its_formula(arguments, dtype):
    assert_link_follows(ot.scale_by_trust_ratio, ratios, arguments, dtype)


@dtypes
@pytest.mark.parametrize("bounds", [{}, {"low": 1.0, "high": 3.0}])
def test_lamb_goes_the_way_of_algorithm_2(bounds, dtype):
    def make(lr, low=None, high=None, **rest):
        phi = None if low is None else lambda norm: jnp.clip(norm, low, high)
        return ot.lamb(lr, phi=phi, **rest)

    arguments = {"lr": 0.02, "b1": 0.9, "b2": 0.99, "eps": 1e-6, "weight_decay": 0.1}
    assert_optimiser_follows(make, algorithm_2, arguments | bounds, dtype)


def test_masked_out_leaves_take_the_step_of_adamw():
    w = {"kernel": jnp.float32(noise(1, 3, 2)), "bias": jnp.float32(noise(2, 2))}
    g = {"kernel": jnp.float32(noise(3, 3, 2)), "bias": jnp.float32(noise(4, 2))}
    mask = ot.no_bias_or_norm
    ours, _ = once(ot.lamb(0.1, weight_decay=0.2, mask=mask, trust_ratio_mask=mask), g, w)
    adamw, _ = once(ot.adamw(0.1, eps=1e-6, weight_decay=0.2, mask=mask), g, w)
    np.testing.assert_array_equal(ours["bias"], adamw["bias"])
    ratio = jnp.linalg.norm(ours["kernel"]) / jnp.linalg.norm(adamw["kernel"])
    assert abs(float(ratio) - 1) > 0.1
    assert float(jnp.linalg.norm(ours["kernel"])) == pytest.approx(
        0.1 * float(jnp.linalg.norm(w["kernel"])), rel=1e-5
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("of_w", [0.0, 2.0])
@pytest.mark.parametrize("of_u", [0.0, 3.0])
def test_at_a_zero_norm_the_ratio_is_the_trust_coefficient(of_u, of_w, dtype):
    w, u = jnp.full((2, 2), of_w, dtype), jnp.full((2, 2), of_u, dtype)
    tx = ot.scale_by_trust_ratio(0.0, 0.25, max_ratio=0.5)
    updates, state = once(tx, u, w)
    want = 0.25 * 0.5 if of_w and of_u else 0.25
    assert float(state.trust_ratio) == want
    np.testing.assert_array_equal(updates, jnp.asarray(want * of_u, dtype))


def test_a_layer_of_zeros_takes_the_plain_adam_step():
    w, g = jnp.zeros((2, 2)), jnp.ones((2, 2))
    ours, _ = once(ot.lamb(0.1), g, w)
    np.testing.assert_array_equal(ours, once(ot.adam(0.1, eps=1e-6), g, w)[0])


@pytest.mark.parametrize("where", ["update", "parameter"])
def test_a_nan_norm_makes_its_layer_nan_and_no_other(where):
    fine, bad = jnp.ones((2, 2)), jnp.ones((2, 2)).at[0, 0].set(jnp.nan)
    u, w = {"bad": fine, "good": fine}, {"bad": fine, "good": fine}
    (u if where == "update" else w)["bad"] = bad
    updates, state = once(ot.scale_by_trust_ratio(), u, w)
    assert jnp.isnan(updates["bad"]).all()
    assert jnp.isnan(state.trust_ratio["bad"])
    np.testing.assert_array_equal(updates["good"], 1.0)


def test_float16_squares_that_overflow_do_not_make_the_norm_infinite():
    w, u = jnp.full((2, 2), 400.0, jnp.float16), jnp.full((2, 2), 200.0, jnp.float16)
    updates, state = once(ot.scale_by_trust_ratio(), u, w)
    assert float(state.trust_ratio) == 2.0
    np.testing.assert_array_equal(updates, 400.0)


step_of = jax.jit(lambda g, w: once(ot.lamb(0.1, eps=0.0), g, w)[0])
matrices = st.integers(0, 10**6).map(lambda seed: np.float32(noise(seed, 2, 3, 4)))
scales = st.floats(1e-4, 1e4)


@hypothesis.given(gw=matrices, scale=scales)
def test_steps_scale_with_the_weights_and_not_with_the_gradients(gw, scale):
    g, w = gw
    plain = np.asarray(step_of(g, w))
    np.testing.assert_allclose(step_of(g, np.float32(scale * w)), scale * plain, 1e-5)
    np.testing.assert_allclose(step_of(np.float32(scale * g), w), plain, 1e-5)


@hypothesis.given(gw=matrices, low=st.floats(0.1, 1.0), high=st.floats(1.0, 10.0))
def test_the_ratio_stays_in_its_bounds(gw, low, high):
    u, w = gw
    tx = ot.scale_by_trust_ratio(min_ratio=jnp.float32(low), max_ratio=jnp.float32(high))
    ratio = float(once(tx, jnp.asarray(u), jnp.asarray(w))[1].trust_ratio)
    assert np.float32(low) <= ratio <= np.float32(high)
    free = size_of(np.float64(w)) / size_of(np.float64(u))
    assert ratio == pytest.approx(np.clip(free, low, high), rel=1e-5)


def test_epsilon_of_lamb_is_that_of_adam_alone():
    w = jnp.ones((2, 2))
    tx = ot.lamb(0.1)
    assert float(optax.tree.get(tx.init(w), "eps")) == pytest.approx(1e-6)
    said = ot.report(once(tx, w, w)[1])
    assert said["trust_ratio"] == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_norm", -1.0),
        ("trust_coefficient", 0.0),
        ("eps", -1.0),
        ("min_ratio", -0.5),
        ("max_ratio", 0.0),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        ot.scale_by_trust_ratio(**{name: value})


def test_bounds_of_lamb_are_checked():
    with pytest.raises(ValueError, match=r"max_ratio.*-1\.0"):
        ot.lamb(0.1, max_ratio=-1.0)


def test_missing_parameters_are_refused():
    tx = ot.scale_by_trust_ratio()
    with pytest.raises(ValueError, match=r"params must be given.*TrustRatioState"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def relative_steps(tx):
    """The step of two layers of very different size, over their size."""
    w = {"u": jnp.float32(noise(1, 3, 3)), "v": jnp.float32(100 * noise(2, 3, 3))}
    g = jax.tree.map(jnp.sin, w)
    updates, _ = once(tx, g, w)
    return [float(jnp.linalg.norm(updates[k]) / jnp.linalg.norm(w[k])) for k in "uv"]


def test_it_equalises_the_relative_steps_where_adam_does_not():
    first, second = relative_steps(ot.adam(0.1))
    assert first > 50 * second
    np.testing.assert_allclose(relative_steps(ot.lamb(0.1)), 0.1, rtol=1e-5)


def test_without_the_ratio_it_is_adam():
    w, g = jnp.float32(noise(1, 3, 3)), jnp.float32(noise(2, 3, 3))
    for plain in (
        ot.lamb(0.1, trust_ratio_mask=False),
        ot.lamb(0.1, min_ratio=1.0, max_ratio=1.0),
    ):
        chex.assert_trees_all_close(
            once(plain, g, w)[0], once(ot.adam(0.1, eps=1e-6), g, w)[0], rtol=1e-6
        )


def test_layers_of_small_norms_have_the_ratio_of_large_ones():
    w, g = jnp.float32(noise(1, 4, 3)), jnp.float32(noise(2, 4, 3))
    tx = ot.scale_by_trust_ratio()
    large, state = tx.update(g, tx.init(w), w)
    small, _ = tx.update(1e-3 * g, tx.init(w), 1e-3 * w)
    np.testing.assert_allclose(small, 1e-3 * large, rtol=1e-5)
    assert abs(float(state.trust_ratio) - 1) > 0.01
