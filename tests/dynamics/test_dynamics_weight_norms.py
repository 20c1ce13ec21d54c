"""What a step does to a layer's norm, and the observer in the chain."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optix_tricks as ot
from optix_tricks.dynamics import WeightNorms, observe_weight_norms, weight_norms

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


def chain():
    return optax.chain(ot.add_decayed_weights(DECAY), ot.sgd(RATE, momentum=0.9))


def params_and_gradients(steps=7):
    rng = np.random.default_rng(1)
    shapes = {"conv": {"bias": (4,), "kernel": (3, 4)}, "head": (4, 2)}
    draw = lambda *lead: jax.tree.map(  # noqa: E731
        lambda s: jnp.asarray(rng.standard_normal((*lead, *s)), jnp.float32),
        shapes,
        is_leaf=lambda s: isinstance(s, tuple),
    )
    return draw(), draw(steps)


def run(tx, params, gradients):
    def step(carry, g):
        params, state = carry
        updates, state = tx.update(g, state, params)
        return (optax.apply_updates(params, updates), state), (updates, state)

    @jax.jit
    def whole(params, gradients):
        return jax.lax.scan(step, (params, tx.init(params)), gradients)[1]

    return whole(params, gradients)


def test_the_observer_samples_in_a_scan_and_leaves_the_updates_alone():
    params, gradients = params_and_gradients()
    options = {"learning_rate": RATE, "weight_decay": DECAY, "momentum": 0.9}
    tx = observe_weight_norms(chain(), every=3, decay=0.8, **options)
    updates, states = run(tx, params, gradients)
    expected, _ = run(chain(), params, gradients)
    jax.tree.map(np.testing.assert_array_equal, updates, expected)

    w = jax.tree.map(lambda x: np.asarray(x, float), params)
    trace = jax.tree.map(np.zeros_like, w)
    sample = None
    for t in range(7):
        g, u = (
            jax.tree.map(lambda x, t=t: np.asarray(x[t], float), tree)
            for tree in (gradients, updates)
        )
        if t % 3 == 0:
            sample = {"kernel": (w, g, u, trace)}
        w0, g0, u0, v0 = (x["conv"]["kernel"] for x in sample["kernel"])
        found = jax.tree.map(lambda x, t=t: x[t], states.norms)
        get = lambda name, found=found: float(  # noqa: E731
            getattr(found, name)["conv"]["kernel"]
        )
        assert get("square_norm") == pytest.approx(np.sum(w0 * w0), rel=1e-5)
        assert get("trace_product") == pytest.approx(np.sum(g0 * v0), rel=1e-4, abs=1e-6)
        turned = np.arccos(
            np.sum(w0 * (w0 + u0)) / np.linalg.norm(w0) / np.linalg.norm(w0 + u0)
        )
        assert get("rotation") == pytest.approx(turned, rel=1e-4)
        if t >= 3:
            cosine = np.sum(g0 * v0) / np.linalg.norm(g0) / np.linalg.norm(v0)
            assert get("trace_cosine") == pytest.approx(cosine, rel=1e-4)
        trace = jax.tree.map(lambda v, x: 0.8 * v + x, trace, g)
        w = jax.tree.map(np.add, w, u)
    assert states.norms.change["conv"]["bias"] is None
    assert states.trace["conv"]["bias"] is None


def test_the_state_keeps_its_structure_and_reports():
    params, gradients = params_and_gradients(1)
    g = jax.tree.map(lambda x: x[0], gradients)
    rate = optax.linear_schedule(0.2, 0.1, 10)
    tx = observe_weight_norms(optax.sgd(rate), learning_rate=rate, decay=None)
    state = tx.init(params)
    describe = lambda tree: jax.tree.map(  # noqa: E731
        lambda x: (x.shape, x.dtype, x.weak_type), tree
    )
    _, after = jax.jit(tx.update)(g, state, params)
    assert describe(after) == describe(state)
    assert jax.tree.structure(jax.eval_shape(tx.init, params)) == jax.tree.structure(
        state
    )
    said = ot.report(after)
    assert float(said["learning_rate"]) == pytest.approx(0.2)
    assert said["rotation/head"].shape == ()
    assert "rotation/conv/bias" not in said
    assert after.trace is None
    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), (g, params))
    both = jax.jit(jax.vmap(lambda g, w: tx.update(g, tx.init(w), w)[1]))(*batch)
    one = float(after.norms.square_norm["head"])
    np.testing.assert_allclose(both.norms.square_norm["head"], [one, 4 * one], rtol=1e-6)


def test_a_gradient_that_is_none_counts_as_zero():
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    tx = observe_weight_norms(optax.sgd(0.1), learning_rate=0.1, mask=None)
    updates, state = tx.update({"a": jnp.ones(2), "b": None}, tx.init(params), params)
    assert updates["b"] is None
    assert float(state.norms.gradient_square["b"]) == 0
    assert float(state.norms.change["b"]) == 0


def test_it_composes_with_a_chain_and_extra_arguments():
    params, gradients = params_and_gradients(1)
    g = jax.tree.map(lambda x: x[0], gradients)
    tx = optax.chain(
        optax.clip(0.1),
        observe_weight_norms(optax.sgd(0.5), learning_rate=0.5, mask=None),
    )
    state = tx.init(params)
    _, state = tx.update(g, state, params, value=jnp.ones(()))
    largest = np.max(np.abs(state[1].trace["head"]))
    assert largest == pytest.approx(0.1)
    assert isinstance(state[1].norms, WeightNorms)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate must be zero or positive, got -1.0"),
        ({"learning_rate": 0.1, "every": 0}, "every must be at least 1, got 0"),
        ({"learning_rate": 0.1, "decay": 1.0}, r"decay must be in \[0, 1\), got 1.0"),
        ({"learning_rate": 0.1, "momentum": 1.5}, r"momentum must be in \[0, 1\)"),
    ],
)
def test_bad_arguments_raise(options, message):
    with pytest.raises(ValueError, match=message):
        observe_weight_norms(optax.sgd(0.1), **options)


def test_what_does_not_match_raises():
    w = {"a": jnp.ones(2)}
    with pytest.raises(
        ValueError, match="gradients must be a tree shaped like the param"
    ):
        weight_norms(w, {"b": jnp.ones(2)}, updates=w, learning_rate=0.1)
    with pytest.raises(ValueError, match="updates must be a tree shaped like the param"):
        weight_norms(w, w, updates={"a": jnp.ones(3)}, learning_rate=0.1)
    tx = observe_weight_norms(optax.sgd(0.1), learning_rate=0.1)
    with pytest.raises(ValueError, match="params must be given"):
        tx.update(w, tx.init(w))
