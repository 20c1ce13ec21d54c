"""The observer in the chain: when it measures, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optix_tricks as ot
from optix_tricks.dynamics import WeightNorms, observe_weight_norms

RATE, DECAY = 0.3, 0.02


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


def test_without_parameters_it_raises():
    w = {"a": jnp.ones(2)}
    tx = observe_weight_norms(optax.sgd(0.1), learning_rate=0.1)
    with pytest.raises(ValueError, match="params must be given"):
        tx.update(w, tx.init(w))
