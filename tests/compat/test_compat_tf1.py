"""Optimisers of compat.tf1 against float64 loops of what TensorFlow 1 documents."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optix_tricks.compat import tf1

STEPS = 120
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
CURVATURE = np.linspace(0.25, 2.0, 8)
TARGET = np.linspace(-2.0, 1.5, 8)
START = np.linspace(1.0, -1.0, 8)


def gradient(library, w):
    """Of a sum of parabolas and hyperbolas."""
    curvature, target = (library.asarray(x, w.dtype) for x in (CURVATURE, TARGET))
    return curvature * (w - target) + w / library.sqrt(1 + w**2)


def descent(ws, lr):
    while True:
        ws.append(ws[-1] - lr(len(ws) - 1) * gradient(np, ws[-1]))
        yield


def momentum(ws, lr, momentum, use_nesterov=False):
    accum = np.zeros(8)
    while True:
        w, g, rate = ws[-1], gradient(np, ws[-1]), lr(len(ws) - 1)
        accum = momentum * accum + g
        step = rate * g + rate * momentum * accum if use_nesterov else rate * accum
        ws.append(w - step)
        yield


def adagrad(ws, lr, initial_accumulator_value=0.1):
    accum = np.full(8, initial_accumulator_value)
    while True:
        g = gradient(np, ws[-1])
        accum = accum + g * g
        ws.append(ws[-1] - lr(len(ws) - 1) * g / np.sqrt(accum))
        yield


def adadelta(ws, lr, rho=0.95, epsilon=1e-8):
    accum, accum_update = np.zeros(8), np.zeros(8)
    while True:
        g = gradient(np, ws[-1])
        accum = rho * accum + (1 - rho) * g * g
        update = np.sqrt(accum_update + epsilon) / np.sqrt(accum + epsilon) * g
        accum_update = rho * accum_update + (1 - rho) * update * update
        ws.append(ws[-1] - lr(len(ws) - 1) * update)
        yield


def rmsprop(ws, lr, decay=0.9, momentum=0.0, epsilon=1e-10, centered=False):
    mean_square, mean_grad, mom = np.ones(8), np.zeros(8), np.zeros(8)
    while True:
        g = gradient(np, ws[-1])
        mean_square = decay * mean_square + (1 - decay) * g * g
        mean_grad = decay * mean_grad + (1 - decay) * g
        variance = mean_square - (mean_grad**2 if centered else 0)
        mom = momentum * mom + lr(len(ws) - 1) * g / np.sqrt(variance + epsilon)
        ws.append(ws[-1] - mom)
        yield


def adam(ws, lr, beta1=0.9, beta2=0.999, epsilon=1e-8):
    m, v = np.zeros(8), np.zeros(8)
    while True:
        g, t = gradient(np, ws[-1]), len(ws)
        rate = lr(t - 1) * math.sqrt(1 - beta2**t) / (1 - beta1**t)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        ws.append(ws[-1] - rate * m / (np.sqrt(v) + epsilon))
        yield


OPTIMIZERS = [
    (tf1.GradientDescentOptimizer, descent, 0.1, {}),
    (tf1.MomentumOptimizer, momentum, 0.05, {"momentum": 0.8}),
    (tf1.MomentumOptimizer, momentum, 0.05, {"momentum": 0.8, "use_nesterov": True}),
    (tf1.AdagradOptimizer, adagrad, 0.1, {}),
    (tf1.AdagradOptimizer, adagrad, 0.1, {"initial_accumulator_value": 2.0}),
    (tf1.AdadeltaOptimizer, adadelta, 10.0, {}),
    (tf1.AdadeltaOptimizer, adadelta, 1.0, {"rho": 0.8, "epsilon": 1e-3}),
    (tf1.RMSPropOptimizer, rmsprop, 0.005, {}),
    (tf1.RMSPropOptimizer, rmsprop, 0.01, {"momentum": 0.8, "epsilon": 0.1}),
    (tf1.RMSPropOptimizer, rmsprop, 0.01, {"momentum": 0.5, "centered": True}),
    (tf1.AdamOptimizer, adam, 0.05, {}),
    (tf1.AdamOptimizer, adam, 0.05, {"beta1": 0.8, "beta2": 0.95, "epsilon": 0.1}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("make", "loop", "rate", "arguments"), OPTIMIZERS)
def test_an_optimiser_goes_the_documented_way(make, loop, rate, arguments, dtype):
    ws = [START]
    steps = loop(ws, lambda t: rate / (1 + 0.5 * (t // 40)), **arguments)
    for _ in range(STEPS):
        next(steps)
    want = np.array(ws[1:])
    with jax.enable_x64(dtype == "float64"):
        tx = make(tf1.inverse_time_decay(rate, 40, 0.5, staircase=True), **arguments)

        def step(carry, _):
            w, state = carry
            updates, state = tx.update(gradient(jnp, w), state, w)
            w = optax.apply_updates(w, updates)
            return (w, state), w

        start = jnp.asarray(START, dtype)
        start = (start, tx.init(start))
        _, got = jax.jit(lambda s: jax.lax.scan(step, s, length=STEPS))(start)
        assert got.dtype == dtype
        got = np.asarray(got)
    error = np.abs(got - want).max(axis=1) / np.abs(want).max(axis=1)
    assert error.max() <= TOLERANCE[dtype]
    assert np.abs(want[-1] - START).max() > 0.1


@pytest.mark.parametrize(("make", "message"), [
    (lambda: tf1.AdagradOptimizer(0.1, 0.0), "must be positive, got 0.0"),
    (lambda: tf1.MomentumOptimizer(0.1, 1.0), r"momentum must be in \[0, 1\), got 1.0"),
    (lambda: tf1.AdamOptimizer(epsilon=-1.0), "epsilon must be zero or positive"),
])  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
