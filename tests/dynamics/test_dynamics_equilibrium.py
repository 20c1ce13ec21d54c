"""The predictions, held against random walks and against formulas written anew."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import (
    corrected_equilibrium,
    equilibrium,
    equilibrium_norm,
)
from tests.dynamics.random_walks import RATE, SCALE, SIZE, settled, walk


@pytest.mark.parametrize(
    ("kind", "momentum"),
    [("sgd", 0.0), ("heavy_ball", 0.9), ("nesterov", 0.85), ("sgdw", 0.9)],
)
def test_gradient_rules_settle_where_predicted(kind, momentum):
    (square, g_square, step_square, _), options = settled(kind, momentum)
    norm = equilibrium_norm(kind, gradient_scale=SCALE, **options)
    found = equilibrium(kind, **options)
    relative = RATE * math.sqrt(g_square / square)
    assert relative == pytest.approx(found.relative_update, rel=5e-3)
    assert math.sqrt(step_square / square) == pytest.approx(found.rotation, rel=5e-3)
    assert math.sqrt(square) == pytest.approx(norm, rel=5e-3)


@pytest.mark.parametrize(("kind", "tolerance"), [("adamw", 0.01), ("lion", 0.03)])
def test_sign_rules_settle_where_predicted(kind, tolerance):
    (square, _, step_square, _), options = settled(kind, 0.9, rate=0.003, decay=0.1)
    norm = equilibrium_norm(kind, size=SIZE, **options)
    found = equilibrium(kind, **options)
    measured = math.sqrt(step_square / square)
    assert measured == pytest.approx(found.rotation, rel=tolerance)
    assert math.sqrt(square) == pytest.approx(norm, rel=tolerance)
    assert math.isnan(found.relative_update)


def test_nesterov_turns_by_more_than_heavy_ball_by_the_known_factors():
    for momentum, factor in ((0.9, 1.158), (0.85, 1.213)):
        both = [
            equilibrium(
                kind, learning_rate=0.4, weight_decay=5e-4, momentum=momentum
            ).rotation
            for kind in ("nesterov", "heavy_ball")
        ]
        assert both[0] / both[1] == pytest.approx(factor, abs=5e-4)
    (square, _, step_square, _), options = settled("nesterov", 0.9)
    ball = equilibrium("heavy_ball", **options).rotation
    assert math.sqrt(step_square / square) / ball == pytest.approx(1.158, rel=1e-2)


def test_the_numbers_of_the_article():
    found = equilibrium("heavy_ball", learning_rate=0.4, weight_decay=5e-4, momentum=0.9)
    assert found.first_order == pytest.approx(math.sqrt(2 * 0.4 * 5e-4 * 0.1))
    assert found.first_order == pytest.approx(6.32e-3, rel=1e-3)
    assert found.rotation == pytest.approx(1.45e-2, rel=1e-3)
    assert found.relaxation_steps == pytest.approx(125)
    exact = 2 * 2e-4 * 0.1 * (1 - 2e-4 / 3.8)
    assert found.relative_update == pytest.approx(math.sqrt(exact), rel=1e-12)
    sgd = equilibrium("sgd", learning_rate=0.4, weight_decay=0.5)
    assert sgd.relative_update == pytest.approx(math.sqrt(0.4 - 0.04))
    same = equilibrium("heavy_ball", learning_rate=0.4, weight_decay=0.5)
    assert same.relative_update == pytest.approx(sgd.relative_update)


@pytest.mark.parametrize(
    ("kind", "momentum", "power"),
    [("heavy_ball", 0.9, 2), ("nesterov", 0.5, 2), ("sgdw", 0.9, 2), ("adamw", 0.9, 1)],
)
def test_norms_relax_in_the_predicted_time(kind, momentum, power):
    rate, decay = (0.01, 0.05) if kind == "adamw" else (RATE, 5e-4)
    if kind == "sgdw":
        decay *= 5
    given = {"size": SIZE} if kind == "adamw" else {"gradient_scale": SCALE}
    options = {"learning_rate": rate, "weight_decay": decay, "momentum": momentum}
    norm = equilibrium_norm(kind, **options, **given)
    time = equilibrium(kind, **options).relaxation_steps
    start = norm * 0.5 ** (1 / (2 * power))  # half of what relaxes
    rows = walk(kind, rate, decay, momentum, start=start)
    missing = 1 - (rows[:, 0] / norm**2).mean(1) ** power
    first, last = 30, int(1.2 * time)
    measured = (last - first) / math.log(missing[first] / missing[last])
    assert measured == pytest.approx(time, rel=0.2)


def test_schedules_and_layers_as_arrays_under_jit():
    rates = jnp.array([0.1, 0.4])
    found = jax.jit(
        lambda rates: equilibrium("sgdw", learning_rate=rates, weight_decay=1e-3)
    )(rates)
    np.testing.assert_allclose(found.rotation, np.sqrt(2e-3 * rates), rtol=1e-6)
    layers = jax.vmap(
        lambda s: corrected_equilibrium(
            "nesterov",
            learning_rate=0.1,
            weight_decay=1e-3,
            momentum=0.5,
            autocorrelation=s,
        )
    )(jnp.array([0.0, 0.5, -2.0]))
    expected = np.sqrt(np.array([1e-4, 1e-4 / 1.5]))
    np.testing.assert_allclose(layers.relative_update[:2], expected, rtol=1e-6)
    assert np.isnan(layers.relative_update[2])


OPTIONS = {"learning_rate": 0.1, "weight_decay": 1e-3}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equilibrium("adam", **OPTIONS), "has no fixed value"),
        (lambda: equilibrium("rms", **OPTIONS), "kind must be one of .* got 'rms'"),
        (lambda: equilibrium("sgd", momentum=0.9, **OPTIONS), "take 'heavy_ball'"),
        (
            lambda: equilibrium("sgd", learning_rate=0.1, weight_decay=0.0),
            "weight_decay must be positive, got 0.0",
        ),
        (
            lambda: equilibrium("sgd", learning_rate=1.0, weight_decay=3.0),
            "learning_rate times weight_decay must be below 2",
        ),
        (lambda: equilibrium_norm("sgd", **OPTIONS), "gradient_scale must be given"),
        (lambda: equilibrium_norm("lion", **OPTIONS), "size must be given for 'lion'"),
        (lambda: corrected_equilibrium("lion", **OPTIONS), "do not follow"),
        (
            lambda: corrected_equilibrium("sgdw", autocorrelation=-0.5, **OPTIONS),
            "autocorrelation must be above -1/2, got -0.5",
        ),
    ],
)
def test_bad_arguments_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("kind", "momentum"), [("sgd", 0.0), ("heavy_ball", 0.6), ("sgdw", 0.6)]
)
def test_second_moments_settle_at_the_exact_value(kind, momentum):
    """Of w and v under gradients of length 1 that are orthogonal to both, at ηλ = 0.3."""
    eta, decay = 0.5, 0.6
    coupled = kind != "sgdw"
    move = np.array([[1, -eta], [0, 1]])  # (w, v) after the step, of w and the new v
    if not coupled:
        move[0, 0] -= eta * decay
    gather = np.array([[1, 0], [decay * coupled, momentum]])
    moments = np.eye(2)
    for _ in range(400):
        moments = gather @ moments @ gather.T + np.diag([0, 1])
        moments = move @ moments @ move.T
    found = equilibrium(
        kind, learning_rate=eta, weight_decay=decay, momentum=momentum
    ).relative_update
    assert found == pytest.approx(eta / math.sqrt(moments[0, 0]), rel=1e-6)
