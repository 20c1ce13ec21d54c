"""The predictions for correlated gradients, against random walks and sums of moments."""

import math

import numpy as np
import pytest
import scipy.linalg

from optix_tricks.dynamics import corrected_equilibrium, equilibrium, equilibrium_norm
from tests.dynamics.random_walks import RATE, SCALE, settled, walk


@pytest.mark.parametrize("kind", ["heavy_ball", "nesterov", "sgdw"])
def test_a_step_is_as_long_as_its_sum_over_correlated_gradients(kind):
    """The sum itself, of gradients with R_k = φ^k, at a small ηλ."""
    r, phi, rate = 0.7, -0.6, 1e-6
    for drift in (0.0, 3e-6):
        found = corrected_equilibrium(
            kind,
            learning_rate=1e-3,
            weight_decay=1e-3,
            momentum=r,
            autocorrelation=sum((r * phi) ** k for k in range(1, 200)),
            drift=drift,
        )
        weights = r ** np.arange(200.0)  # of g_{t-j} in the step at t
        if kind == "nesterov":
            weights = r * weights
            weights[0] += 1
        lengths = weights @ scipy.linalg.toeplitz(phi ** np.arange(200.0)) @ weights
        ratio = float(found.rotation / found.relative_update)
        assert ratio == pytest.approx(math.sqrt(lengths), rel=1e-5)
        # What gradients lengthen by, over all steps in which they act, decay takes.
        acts = {"heavy_ball": 1.0, "nesterov": r, "sgdw": 1.0}[kind]
        twice = 2 * sum((r * phi) ** k for k in range(1, 200)) * acts
        lengthened = (1 + twice) * float(found.relative_update) ** 2 / (1 - r) ** 2
        shortened = 2 * rate / (1 if kind == "sgdw" else 1 - r)
        assert lengthened == pytest.approx(shortened + drift, rel=1e-5)


CORRELATED = [
    ("heavy_ball", 0.9, {"phi": 0.5}),
    ("heavy_ball", 0.9, {"phi": -0.5}),
    ("heavy_ball", 0.5, {"phi": 0.9}),
    ("heavy_ball", 0.9, {"theta": -0.6}),
    ("heavy_ball", 0.8, {"phi": 0.8}),
    ("nesterov", 0.9, {"phi": -0.5}),
    ("nesterov", 0.8, {"phi": 0.8}),
    ("nesterov", 0.5, {"theta": 0.8}),
    ("sgdw", 0.9, {"phi": 0.9}),
    ("sgdw", 0.8, {"theta": -0.6}),
    ("sgd", 0.0, {"phi": 0.9}),
]


@pytest.mark.parametrize(("kind", "momentum", "noise"), CORRELATED)
def test_correlated_gradients_settle_where_the_corrected_prediction_says(
    kind, momentum, noise
):
    phi, theta = noise.get("phi", 0.0), noise.get("theta", 0.0)
    by_model = momentum * (phi / (1 - momentum * phi) + theta / (1 + theta**2))
    (square, g_square, step_square, product), options = settled(
        kind, momentum, s=by_model, **noise
    )
    s = momentum * product / g_square
    measured = RATE * math.sqrt(g_square / square)
    found = corrected_equilibrium(kind, autocorrelation=s, **options)
    assert measured == pytest.approx(float(found.relative_update), rel=0.015)
    turned = math.sqrt(step_square / square)
    assert turned == pytest.approx(float(found.rotation), rel=0.015)
    if kind != "sgd":  # without momentum correlations change nothing
        uncorrected = equilibrium(kind, **options).relative_update
        assert abs(measured / uncorrected - 1) > 0.06


def test_drift_counts_as_decay_would():
    """Far below its equilibrium the norm grows, and the balance holds all the same."""
    for kind, momentum in (("heavy_ball", 0.8), ("nesterov", 0.8), ("sgdw", 0.8)):
        options = {"learning_rate": RATE, "weight_decay": 5e-4, "momentum": momentum}
        norm = equilibrium_norm(kind, gradient_scale=SCALE, **options)
        rows = walk(kind, RATE, 5e-4, momentum, start=0.5 * norm).mean(2)[50:150]
        square, g_square, step_square, product = rows.mean(0)
        found = corrected_equilibrium(
            kind,
            autocorrelation=momentum * product / g_square,
            drift=(rows[-1, 0] - rows[0, 0]) / (99 * square),
            **options,
        )
        measured = RATE * math.sqrt(g_square / square)
        assert measured > 1.1 * equilibrium(kind, **options).relative_update
        assert measured == pytest.approx(float(found.relative_update), rel=0.02)
        turned = math.sqrt(step_square / square)
        assert turned == pytest.approx(float(found.rotation), rel=0.02)


def test_without_momentum_correlations_have_no_effect():
    options = {"learning_rate": 0.1, "weight_decay": 0.5}
    found = corrected_equilibrium("sgd", autocorrelation=0.7, **options)
    expected = equilibrium("sgd", **options)
    assert float(found.relative_update) == pytest.approx(expected.relative_update)
    assert float(found.rotation) == pytest.approx(expected.rotation)
