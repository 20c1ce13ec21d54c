"""LARS: the paper's ratio, its invariances, and layers whose norm is zero."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import (
    assert_close,
    assert_link_follows,
    assert_optimiser_follows,
    dtypes,
    noise,
    path_of,
)

import optix_tricks as ot


def scaled(
    g, w, trust_coefficient, weight_decay=0.0, eps=0.0, ratio="paper", per_filter=False
):
    """You et al. 2017, equation 6, times the decayed gradient of algorithm 1.

    Of `optax.lars` the ratio divides by the norm of the sum, of Page by the gradient's.
    """
    axis = tuple(range(w.ndim - 1)) if per_filter else None
    decayed = g + weight_decay * w

    def norm(x):
        return np.sqrt(np.sum(x * x, axis=axis, keepdims=True))

    below = {
        "paper": norm(g) + weight_decay * norm(w),
        "optax": norm(decayed),
        "page": norm(g),
    }[ratio]
    return trust_coefficient * norm(w) / (below + eps) * decayed


def links(gs, ws, **arguments):
    return np.array([scaled(g, w, **arguments) for g, w in zip(gs, ws, strict=True)])


def algorithm_1(gs, w, lr, momentum, nesterov=False, **arguments):
    """The paper's algorithm: the rate is inside the momentum buffer."""
    v, out = 0.0, []
    for t, g in enumerate(gs):
        step = lr(t) * scaled(g, w, **arguments)
        v = momentum * v + step
        w = w - (step + momentum * v if nesterov else v)
        out.append(w)
    return np.array(out)


@dtypes
@pytest.mark.parametrize(
    "arguments",
    [
        {"trust_coefficient": 0.001},
        {"trust_coefficient": 0.02, "weight_decay": 1e-4},
        {"trust_coefficient": 1.0, "weight_decay": 1.0, "eps": 0.5},
        {"trust_coefficient": 1.0, "weight_decay": 0.1, "eps": 0.01, "ratio": "page"},
        {"trust_coefficient": 0.02, "weight_decay": 0.1, "ratio": "optax"},
        {"trust_coefficient": 0.02, "weight_decay": 0.1, "per_filter": True},
        {"trust_coefficient": 1.0, "weight_decay": 0.1, "eps": 0.01, "ratio": "page"}
        | {"per_filter": True},
    ],
)
def test_the_ratio_is_that_of_the_source(arguments, dtype):
    assert_link_follows(ot.scale_by_lars, links, arguments, dtype)


@dtypes
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lars_goes_the_way_of_algorithm_1_under_a_falling_rate(
    weight_decay, nesterov, dtype
):
    def make(**rest):
        return ot.lars(lambda count: 2.0 / (1 + count), **rest)

    def formula(gs, w, **rest):
        return algorithm_1(gs, w, lambda t: 2.0 / (1 + t), **rest)

    arguments = {"trust_coefficient": 0.02, "momentum": 0.9}
    arguments |= {"weight_decay": weight_decay, "nesterov": nesterov}
    assert_optimiser_follows(make, formula, arguments, dtype)


def page_lars(gs, w, lr, weight_decay, momentum):
    """Page's ResNet code: Nesterov's step with the rate |w| / (|g| + 0.01) a filter."""
    v, out = 0.0, []
    for g in gs:
        length = [np.sqrt(np.sum(x**2, axis=(0, 1, 2), keepdims=True)) for x in (w, g)]
        rate = lr * length[0] / (length[1] + 1e-2)
        step = -rate * (g + weight_decay * w)
        v = momentum * v + step
        w = w + step + momentum * v
        out.append(w)
    return np.array(out)


def test_per_filter_it_is_the_step_of_page():
    gs, w = noise(1, 20, 3, 3, 2, 4), noise(2, 3, 3, 2, 4)
    tx = ot.lars(
        0.1,
        weight_decay=0.01,
        trust_coefficient=1.0,
        eps=1e-2,
        momentum=0.9,
        nesterov=True,
        ratio="page",
        per_filter=True,
    )
    got = path_of(tx, jnp.float32(gs), jnp.float32(w))
    assert_close(np.asarray(got), page_lars(gs, w, 0.1, 0.01, 0.9), 1e-5)


def test_per_filter_the_report_is_the_mean_and_a_bad_filter_stays_alone():
    w = jnp.array([[3.0, 1.0, 0.0], [4.0, 0.0, 0.0]])
    g = jnp.array([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
    tx = ot.scale_by_lars(trust_coefficient=1.0, per_filter=True)
    updates, state = tx.update(g, tx.init(w), w)
    np.testing.assert_allclose(updates, g * jnp.array([[5.0, 0.5, 1.0]]))
    assert float(state.trust_ratio) == pytest.approx(6.5 / 3)
    updates, state = tx.update(g.at[0, 1].set(jnp.nan), state, w)
    assert jnp.isnan(updates[:, 1]).all()
    assert jnp.isfinite(updates[:, (0, 2)]).all()


@pytest.mark.parametrize("per_filter", [False, True])
@pytest.mark.parametrize("ratio", ["paper", "optax", "page"])
def test_decay_that_cancels_the_gradient_gives_no_nan(ratio, per_filter):
    w = jnp.array([[3.0, 4.0], [1.0, 2.0]])
    tx = ot.scale_by_lars(weight_decay=1.0, ratio=ratio, per_filter=per_filter)
    updates, _ = tx.update(-w, tx.init(w), w)
    np.testing.assert_array_equal(updates, 0.0)


def test_an_unknown_ratio_is_refused():
    with pytest.raises(ValueError, match=r"ratio must be .* or 'page', got 'apex'"):
        ot.lars(0.1, ratio="apex")


def test_the_norms_are_added_and_not_the_vectors():
    """Decay and gradient that cancel: the norm of the sum would be zero."""
    w = jnp.array([[3.0, 4.0]])
    tx = ot.scale_by_lars(trust_coefficient=1.0, weight_decay=1.0)
    updates, state = tx.update(-w, tx.init(w), w)
    assert float(state.trust_ratio) == pytest.approx(0.5)
    np.testing.assert_array_equal(updates, 0.0)


def test_layers_are_taken_apart_and_masked_leaves_pass_undecayed():
    w = {"u": jnp.full((2, 2), 2.0), "v": jnp.full((2, 2), 20.0), "bias": jnp.ones(2)}
    g = {"u": jnp.full((2, 2), 5.0), "v": jnp.full((2, 2), 0.5), "bias": jnp.ones(2)}
    tx = ot.scale_by_lars(trust_coefficient=0.1, weight_decay=0.5)
    updates, state = tx.update(g, tx.init(w), w)
    for name in ("u", "v"):
        want = scaled(np.asarray(g[name]), np.asarray(w[name]), 0.1, 0.5)
        np.testing.assert_allclose(updates[name], want, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 1.0)
    assert state.trust_ratio["bias"] == optax.MaskedNode()


matrices = st.integers(0, 10**6).map(lambda seed: np.float32(noise(seed, 2, 3, 4)))
scales = st.floats(1e-4, 1e4)


@jax.jit
def step_of(g, w, weight_decay=0.0):
    tx = ot.scale_by_lars(trust_coefficient=0.02, weight_decay=weight_decay)
    return tx.update(g, tx.init(w), w)[0]


@hypothesis.given(gw=matrices, scale=scales)
def test_scaling_the_weights_scales_the_step(gw, scale):
    g, w = gw
    np.testing.assert_allclose(
        step_of(g, np.float32(scale * w)),
        scale * step_of(g, w),
        rtol=1e-5,
        atol=1e-9 * scale,
    )


@hypothesis.given(gw=matrices, scale=scales)
def test_without_decay_scaling_the_gradients_changes_nothing(gw, scale):
    g, w = gw
    np.testing.assert_allclose(
        step_of(np.float32(scale * g), w), step_of(g, w), rtol=1e-5, atol=1e-9
    )


@hypothesis.given(gw=matrices)
def test_without_decay_every_layer_takes_the_same_relative_step(gw):
    g, w = gw
    assert np.linalg.norm(step_of(g, w)) == pytest.approx(
        0.02 * np.linalg.norm(w), rel=1e-5
    )


@hypothesis.given(gw=matrices, decay=st.floats(0.0, 10.0))
def test_no_relative_step_is_longer_than_the_trust_coefficient(gw, decay):
    g, w = gw
    step = step_of(g, w, np.float32(decay))
    assert np.linalg.norm(step) <= 0.02 * np.linalg.norm(w) * (1 + 1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("of_w", [0.0, 2.0])
@pytest.mark.parametrize("of_g", [0.0, 3.0])
def test_at_a_zero_norm_the_ratio_is_the_trust_coefficient(of_g, of_w, dtype):
    w, g = jnp.full((2, 2), of_w, dtype), jnp.full((2, 2), of_g, dtype)
    tx = ot.scale_by_lars(trust_coefficient=0.25, weight_decay=0.5)
    updates, state = tx.update(g, tx.init(w), w)
    both = of_w and of_g
    want = 0.25 * 4 / (6 + 2) if both else 0.25
    assert float(state.trust_ratio) == want
    np.testing.assert_array_equal(updates, jnp.asarray(want * (of_g + 0.5 * of_w), dtype))


def test_float16_squares_that_overflow_do_not_make_the_norm_infinite():
    w, g = jnp.full((2, 2), 400.0, jnp.float16), jnp.full((2, 2), 200.0, jnp.float16)
    tx = ot.scale_by_lars(trust_coefficient=0.5)
    updates, state = tx.update(g, tx.init(w), w)
    assert float(state.trust_ratio) == 1.0
    np.testing.assert_array_equal(updates, 200.0)


@pytest.mark.parametrize("where", ["gradient", "parameter"])
def test_a_nan_norm_is_not_taken_for_zero(where):
    """The whole layer becomes NaN, as under clip_by_norm: an error that is seen."""
    fine, bad = jnp.ones((2, 2)), jnp.ones((2, 2)).at[0, 0].set(jnp.nan)
    g, w = {"bad": fine, "good": fine}, {"bad": fine, "good": fine}
    (g if where == "gradient" else w)["bad"] = bad
    tx = ot.scale_by_lars()
    updates, state = tx.update(g, tx.init(w), w)
    assert jnp.isnan(updates["bad"]).all()
    assert jnp.isnan(state.trust_ratio["bad"])
    assert jnp.isfinite(updates["good"]).all()


def test_bfloat16_momentum_follows_float32_within_two_per_cent():
    gs, w = jnp.float32(noise(1, 200, 8, 8)), jnp.float32(noise(2, 8, 8))
    ends = []
    for state_dtype in (None, jnp.bfloat16):
        tx = ot.lars(1.0, trust_coefficient=0.01, state_dtype=state_dtype)

        def step(carry, g, tx=tx):
            v, state = carry
            updates, state = tx.update(g, state, v)
            return (optax.apply_updates(v, updates), state), None

        ends.append(jax.lax.scan(step, (w, tx.init(w)), gs)[0][0])
    difference = jnp.linalg.norm(ends[1] - ends[0])
    assert 0 < difference < 0.02 * jnp.linalg.norm(ends[0] - w)


@pytest.mark.parametrize(
    ("name", "value"),
    [("trust_coefficient", 0.0), ("weight_decay", -0.1), ("eps", -1.0)],
)
def test_arguments_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        ot.scale_by_lars(**{name: value})
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        ot.lars(0.1, **{name: value})


def test_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match=r"learning_rate.*-0\.5"):
        ot.lars(-0.5)


def test_missing_parameters_are_refused():
    tx = ot.lars(0.1)
    with pytest.raises(ValueError, match=r"params must be given.*ScaleByLarsState"):
        tx.update(jnp.ones((2, 2)), tx.init(jnp.ones((2, 2))))


def test_a_wrong_state_dtype_is_refused():
    with pytest.raises(ValueError, match=r"state_dtype must be.*float16"):
        ot.lars(0.1, state_dtype=jnp.float16)


def relative_steps(tx):
    """The step of two layers whose gradients differ a million times, over their size."""
    w = {"u": jnp.float32(noise(1, 3, 3)), "v": jnp.float32(100 * noise(2, 3, 3))}
    g = {"u": jnp.float32(1e3 * noise(3, 3, 3)), "v": jnp.float32(1e-3 * noise(4, 3, 3))}
    updates, _ = tx.update(g, tx.init(w), w)
    return [float(jnp.linalg.norm(updates[k]) / jnp.linalg.norm(w[k])) for k in "uv"]


def test_it_equalises_the_relative_steps_of_layers():
    plain = relative_steps(ot.sgd(0.1))
    assert plain[0] > 1e6 * plain[1]
    first, second = relative_steps(ot.lars(0.1, trust_coefficient=0.5))
    assert first == pytest.approx(second, rel=1e-5)
    assert first == pytest.approx(0.05, rel=1e-5)


def test_masked_out_it_is_sgd():
    assert relative_steps(ot.lars(0.1, mask=False)) == relative_steps(ot.sgd(0.1))


def test_layers_of_small_norms_have_the_ratio_of_large_ones():
    w, g = jnp.float32(noise(1, 4, 3)), jnp.float32(noise(2, 4, 3))
    tx = ot.scale_by_lars(trust_coefficient=0.5, weight_decay=0.1)
    large, state = tx.update(g, tx.init(w), w)
    small, _ = tx.update(1e-3 * g, tx.init(w), 1e-3 * w)
    np.testing.assert_allclose(small, 1e-3 * large, rtol=1e-5)
    assert abs(float(state.trust_ratio) - 1) > 0.01
