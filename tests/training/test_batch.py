"""Examples as trees: inputs of several arrays, targets at positions, weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    compile_step_on_devices,
    create_state,
    functional,
    make_evaluate,
    make_train_step,
)

RNG = np.random.default_rng(0)
TOKENS = jnp.asarray(RNG.integers(0, 5, (16, 3)), jnp.int32)
NEXT = jnp.asarray(RNG.integers(0, 5, (16, 3)), jnp.int32)
WEIGHTS = jnp.asarray(RNG.integers(0, 3, (16, 3)), jnp.float32)
KERNEL = RNG.normal(size=(5, 5)).astype(np.float32)


def apply(params, batch_stats, inputs, *, train, key=None):
    """The logits of each position's next token, shifted by a number of the example."""
    logits = params["kernel"][inputs["tokens"]]
    return logits + inputs["shift"][:, None, None], batch_stats


def data(weights=WEIGHTS):
    inputs = {"tokens": TOKENS, "shift": jnp.arange(16.0) / 16}
    return Batch(inputs, NEXT, weights=weights)


def by_hand(weights, chosen=np.s_[:]):
    """Mean loss, accuracy and gradient in NumPy, in float64."""
    x, y, w = (np.asarray(t)[chosen] for t in (TOKENS, NEXT, weights))
    z = KERNEL.astype(np.float64)[x]
    p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    w = w / w.sum()
    loss = -(w * np.log(np.take_along_axis(p, y[..., None], axis=-1)[..., 0])).sum()
    accuracy = (w * (z.argmax(axis=-1) == y)).sum()
    by_logits = w[..., None] * (p - np.eye(5)[y])
    gradient = np.zeros((5, 5))
    np.add.at(gradient, x, by_logits)
    return loss, accuracy, gradient


STATE = create_state(
    {"kernel": jnp.asarray(KERNEL)}, {}, optax.sgd(1.0), jax.random.key(0)
)


@pytest.mark.parametrize("weights", [WEIGHTS, np.ones((16, 3)), None, "examples"])
def test_a_step_weighs_positions(weights):
    step = jax.jit(make_train_step(apply, cross_entropy, optax.sgd(1.0)))
    if isinstance(weights, str):  # one an example
        given = jnp.arange(16.0)
        full = np.broadcast_to(np.arange(16.0)[:, None], (16, 3))
    else:
        given = weights if weights is None else jnp.asarray(weights)
        full = np.ones((16, 3)) if weights is None else weights
    state, metrics = step(STATE, data(given))
    loss, accuracy, gradient = by_hand(full)
    assert metrics["loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(accuracy, rel=1e-5)
    np.testing.assert_allclose(state.params["kernel"], KERNEL - gradient, atol=1e-6)


def test_what_has_no_weight_may_be_anything():
    hole = WEIGHTS.at[0].set(0)
    bad = data(hole)._replace(targets=NEXT.at[0].set(99))
    step = jax.jit(make_train_step(apply, cross_entropy, optax.sgd(1.0)))
    _, metrics = step(STATE, bad)
    assert metrics["loss"] == pytest.approx(by_hand(hole)[0], rel=1e-5)


def test_devices_with_unequal_weights_take_the_whole_batchs_mean():
    """Each device's share counts by its weights, not as one of eight."""
    step = make_train_step(apply, cross_entropy, optax.sgd(1.0), axis_name="devices")
    on_devices, states = compile_step_on_devices(step, STATE, axis_name="devices")
    split = jax.tree.map(lambda x: x.reshape(8, 2, *x.shape[1:]), data())
    states, metrics = on_devices(states, split)
    loss, accuracy, gradient = by_hand(WEIGHTS)
    assert metrics["loss"][0] == pytest.approx(loss, rel=1e-5)
    assert metrics["accuracy"][0] == pytest.approx(accuracy, rel=1e-5)
    np.testing.assert_allclose(states.params["kernel"][3], KERNEL - gradient, atol=1e-6)


def test_an_evaluation_weighs_positions_over_uneven_batches():
    evaluate = make_evaluate(apply, cross_entropy, batch_size=6)
    result = evaluate(STATE.params, {}, data())
    loss, accuracy, _ = by_hand(WEIGHTS)
    assert result.loss == pytest.approx(loss, rel=1e-5)
    assert result.metrics == {"accuracy": pytest.approx(accuracy, rel=1e-5)}
    assert result.size == 16


def test_numbers_have_no_accuracy_and_own_metrics_are_told():
    batch = Batch(jnp.ones((4, 2)), jnp.arange(4.0))

    def line(params, stats, x, *, train, key=None):
        return x @ params["kernel"][:2, 0], stats

    def squared(outputs, targets):
        return (outputs - targets) ** 2

    def largest(outputs, targets):
        return jnp.abs(outputs - targets)

    for metrics, names in ((None, set()), ({"distance": largest}, {"distance"})):
        step = make_train_step(line, squared, optax.sgd(0.1), metrics=metrics)
        _, said = jax.jit(step)(STATE, batch)
        usual = {"loss", "gradient_norm", "update_norm", "parameter_norm"}
        assert said.keys() == usual | names


def test_weights_of_another_shape_are_refused():
    step = make_train_step(apply, cross_entropy, optax.sgd(1.0))
    with pytest.raises(ValueError, match=r"weights must be .* got \[3\] for \[16, 3\]"):
        step(STATE, data(jnp.ones(3)))


class Counter(nnx.Variable):
    """Neither a parameter nor a statistic."""


class Counting(nnx.Module):
    def __init__(self):
        self.embed = nnx.Embed(5, 5, rngs=nnx.Rngs(0))
        self.calls = Counter(jnp.int32(0))

    def __call__(self, tokens):
        self.calls[...] += 1
        return self.embed(tokens)


def test_variables_of_other_types_are_carried_and_tokens_stay_integers():
    network, params, stats = functional(Counting())
    step = jax.jit(make_train_step(network, cross_entropy, optax.sgd(0.1)))
    state = create_state(params, stats, optax.sgd(0.1), jax.random.key(0))
    for _ in range(3):
        state, _ = step(state, Batch(TOKENS, NEXT))
    assert state.batch_stats["calls"] == 3
    logits, after = network(state.params, state.batch_stats, TOKENS, train=False)
    np.testing.assert_array_equal(logits, state.params["embed"]["embedding"][TOKENS])
    assert after["calls"] == 4
