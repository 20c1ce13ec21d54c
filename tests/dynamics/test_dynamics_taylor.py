"""Taylor models against derivatives known by hand, and what they say of a step."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import taylor_model


def wave(w):
    return jnp.sin(w["a"][0]) * jnp.exp(w["b"])


W = {"a": np.array([0.3, 9.0]), "b": np.array(-0.2)}
V = {"a": np.array([2.0, 1.0]), "b": np.array(0.5)}


def by_hand(t, order):
    """Coefficients of sin(0.3 + 2 t) exp(-0.2 + t / 2) and its value, in float64."""
    factor = np.exp(-0.2 + 0.3j) * (0.5 + 2j) ** np.arange(order + 1)
    return factor.imag, np.sin(0.3 + 2 * t) * np.exp(-0.2 + t / 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", [1, 4])
def test_derivatives_models_and_radius(dtype, order):
    with jax.enable_x64(dtype == "float64"):
        w, v = jax.tree.map(lambda x: jnp.asarray(x, dtype), (W, V))
        model = taylor_model(wave, w, v, order=order, tolerance=0.05)
        model = jax.tree.map(np.asarray, model)
    ts = np.asarray(model.ts, np.float64)
    derivatives, loss = by_hand(ts, order)
    rtol = 100 * np.finfo(dtype).eps
    assert model.models.shape == model.ratio.shape == (order, 41)
    assert model.loss.dtype == model.models.dtype == dtype
    np.testing.assert_allclose(model.derivatives, derivatives, rtol=rtol)
    np.testing.assert_allclose(model.loss, loss, atol=rtol)
    factorials = np.cumprod(np.r_[1, np.arange(1, order + 1)])
    for k in range(1, order + 1):
        terms = [derivatives[j] * ts**j / factorials[j] for j in range(k + 1)]
        np.testing.assert_allclose(model.models[k - 1], sum(terms), atol=10 * rtol)
        wrong = np.abs(loss - sum(terms)) > 0.05 * sum(map(abs, terms[1:]))
        wrong &= ts != 0
        near = np.abs(ts) < 0.999 * np.abs(ts[wrong]).min()
        np.testing.assert_allclose(model.radius[k - 1], np.abs(ts[near]).max(), rtol=1e-6)
    assert (np.diff(model.radius) >= 0).all()


def test_the_ratio_of_a_step_is_that_of_trust_regions():
    w = jnp.array([1.0, -2.0])
    d = jnp.array([0.5, 0.25])

    def loss(w):
        return jnp.sum(w**4)

    model = taylor_model(loss, w, d, ts=[0.0, 1.0])
    g, h = 4 * np.array(w) ** 3, np.diag(12 * np.array(w) ** 2)
    predicted = g @ d + d @ h @ d / 2
    actual = float(loss(w + d) - loss(w))
    np.testing.assert_allclose(model.ratio[:, 0], 1)
    np.testing.assert_allclose(model.ratio[0, 1], actual / (g @ d), rtol=1e-5)
    np.testing.assert_allclose(model.ratio[1, 1], actual / predicted, rtol=1e-5)


def test_a_quadratic_is_its_model_everywhere_and_a_line_that_curves_is_not():
    model = taylor_model(lambda w: 3 + w @ w, jnp.ones(3), jnp.ones(3), tolerance=0.08)
    np.testing.assert_allclose(model.models[1], model.loss, rtol=1e-6)
    assert model.radius[1] == 1
    # Of 6 t + 3 t² the square is 0.08 of the linear term at t = 0.16.
    np.testing.assert_allclose(model.radius[0], 0.15, rtol=1e-5)
    cubic = taylor_model(lambda w: w**3, jnp.array(0.0), jnp.array(1.0), order=3)
    np.testing.assert_array_equal(cubic.radius, [0, 0, 1])
    assert taylor_model(lambda w: 0 * w, jnp.array(1.0), jnp.array(1.0)).radius[0] == 1


def test_where_the_loss_is_not_finite_no_model_holds():
    def walled(w):
        return jnp.where(w > 0.5, jnp.nan, w**2)

    model = taylor_model(walled, jnp.array(0.0), jnp.array(1.0))
    np.testing.assert_allclose(model.radius[1], 0.5, rtol=1e-6)


def test_batches_jit_vmap_and_16_bits():
    x = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")

    def loss(w, batch):
        return jnp.mean(jnp.tanh(batch @ w.astype(jnp.float32)) ** 2)

    w = jnp.array([0.5, -1.0, 0.25], jnp.bfloat16)
    in_parts = taylor_model(loss, w, w, ts=[-1.0, 1.0], batches=[x[:3], x[3:]])
    at_once = jax.jit(
        jax.vmap(lambda w: taylor_model(lambda w: loss(w, x), w, w, ts=[-1.0, 1.0]))
    )(w[None])
    for ours, want in zip(in_parts, at_once, strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, want[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 0}, "order must be at least 1, got 0"),
        ({"tolerance": -0.1}, "tolerance must be positive, got -0.1"),
        ({"ts": 1.0}, r"ts must be numbers along one axis, got shape \(\)"),
        ({"ts": []}, r"ts must be numbers along one axis, got shape \(0,\)"),
        ({"direction": jnp.ones(3)}, "direction must be a tree shaped like the param"),
        ({"batches": jnp.ones(3)}, "batches must be a sequence"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments, message):
    direction = arguments.pop("direction", jnp.ones(2))
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(taylor_model)(jnp.sum, jnp.ones(2), direction, **arguments)
