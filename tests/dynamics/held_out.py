"""The settings on which results are reported: none of them was seen by any threshold.

Other data, networks, optimisers and rates than in `failures` and `healthy`.
"""

import jax.numpy as jnp
import optax

from optix_tricks.dynamics import History
from tests.dynamics.failures import (
    HEARSAY,
    Case,
    case,
    clamped,
    ends_early,
    minimal,
    momentum,
    toy,
)
from tests.dynamics.healthy import (
    cosine,
    every_fifth,
    nesterov,
    resumed,
    rows,
    trapezoid,
    without_noise_scale,
)
from tests.dynamics.toys import (
    bent_valley,
    deep_linear,
    log_uniform,
    product,
    quadratic,
    walls,
)

IRIS = {"data": "iris", "batch_size": 16}
MOONS = {"data": "moons", "batch_size": 32}
FRIEDMAN = {"data": "friedman1", "batch_size": 32}  # a regression
BLOBS = {"data": "classification"}
SHAKEN = quadratic(log_uniform(0.5, 4, 10), 3.0, 3.0, noise=2.0, batch_size=16)


def clipped_adam(rate):
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


def decayed_sgd(rate):
    return optax.chain(optax.add_decayed_weights(5e-4), momentum(rate))


def every_third(history: History) -> History:
    return rows(history, slice(0, None, 3))


def failures() -> list[Case]:
    sgd, adam = optax.sgd, optax.adam
    return [
        toy("diverged", "nesterov", quadratic(log_uniform(0.1, 20), 1.0), nesterov, 0.2),
        case("diverged", "friedman", FRIEDMAN, sgd, 2.0),
        case("diverged", "iris", {**IRIS, "squared": True}, momentum, 1.5),
        toy("rate too large", "walls", walls(0.5), momentum, 0.5),
        case("rate too large", "moons", {**MOONS, "activation": "tanh"}, sgd, 40.0),
        case("rate too large", "adamax", {**BLOBS, "widths": (48,)}, optax.adamax, 20.0),
        case("rate too large", "gelu", {"activation": "gelu"}, optax.nadam, 0.5),
        toy("rate too small", "nesterov", quadratic([0.5, 2], 2.0), nesterov, 2e-6),
        case("rate too small", "rmsprop", BLOBS, optax.rmsprop, 3e-7),
        case("rate too small", "friedman", FRIEDMAN, momentum, 3e-7),
        case("rate too small", "iris", {**IRIS, "activation": "tanh"}, sgd, 5e-5),
        toy(
            *("ill-conditioned", "far"),
            *(quadratic([*log_uniform(1e-5, 5e-5, 10), 8.0], 5.0), sgd, 0.2),
        ),
        toy("ill-conditioned", "bent", bent_valley(1000.0), sgd, 1e-4, 1000),
        case(
            *("ill-conditioned", "inputs"),
            {**BLOBS, "widths": (), "shear": 5.0, "batch_size": None},
            *(sgd, 1.0, 1000),
            curvature=True,
        ),
        toy("critical point", "product", product(50, 1e-7), sgd, 0.02),
        toy("critical point", "linear", deep_linear(5, 0.05, 6), momentum, 0.05),
        case(
            *("critical point", "blobs"),
            {**BLOBS, "widths": (40,) * 4, "activation": "tanh", "gain": 3e-4},
            *(sgd, 0.05),
        ),
        case(
            *("vanishing gradients", "iris"),
            {**IRIS, "widths": (12,) * 14, "activation": "sigmoid"},
            *(momentum, 0.01),
        ),
        case(
            *("vanishing gradients", "blobs"),
            {**BLOBS, "widths": (32,) * 9, "activation": "sigmoid"},
            *(sgd, 0.2),
        ),
        case(
            *("exploding gradients", "friedman"),
            {**FRIEDMAN, "widths": (40,) * 8, "gain": 5.0},
            *(sgd, 1e-14),
        ),
        case(
            *("exploding gradients", "blobs"),
            {**BLOBS, "widths": (20,) * 9, "gain": 20.0, "activation": "tanh"},
            *(momentum, 1e-6),
        ),
        case("dead units", "iris", {**IRIS, "widths": (30, 30), "bias": -9.0}, sgd, 0.05),
        case("dead units", "moons", {**MOONS, "bias": -15.0}, optax.rmsprop, 1e-3),
        case(
            *("plateau", "moons"),
            {**MOONS, "widths": (), "label_noise": 0.5},
            *(sgd, 0.2, 2000),
            change=minimal,
        ),
        case(
            *("plateau", "friedman", {**FRIEDMAN, "widths": ()}, momentum, 0.01, 2000),
            change=minimal,
        ),
        case(
            *("over-fitting", "iris"),
            {**HEARSAY, **IRIS, "examples": 40, "widths": (128, 128)},
            *(adam, 0.01, 1000),
        ),
        case("over-fitting", "blobs", {**BLOBS, "examples": 60}, momentum, 0.05, 1000),
        case(
            *("over-fitting", "moons"),
            {**HEARSAY, **MOONS, "examples": 40, "widths": (256, 256)},
            *(adam, 0.01, 1000),
        ),
        toy("noise floor", "quadratic", SHAKEN, sgd, 0.1, 1000),
        toy("noise floor", "clamped", SHAKEN, sgd, 0.1, 1000, change=clamped),
        case(
            *("noise floor", "moons"),
            {**MOONS, "widths": (), "label_noise": 0.4, "batch_size": 4},
            *(sgd, 0.1, 4000),
        ),
        case(
            *("noise floor", "friedman"),
            {**FRIEDMAN, "widths": (), "batch_size": 4},
            *(sgd, 0.02, 4000),
        ),
        toy(
            *("batch too large", "quadratic"),
            quadratic(log_uniform(1e-2, 1), 2.0, 1.0, noise=0.2, batch_size=16384),
            *(nesterov, 0.01, 200),
        ),
        case("batch too large", "moons", {**MOONS, "batch_size": None}, sgd, 0.02, 100),
    ]


def healthy() -> list[Case]:
    sgd, adam = optax.sgd, optax.adam
    return [
        toy("converged", "floor", quadratic([0.5, 5], 4.0, 0.3), momentum, 0.02, 600),
        case("converged", "iris", IRIS, momentum, ends_early(0.05, 800), 800),
        case("converged", "friedman", FRIEDMAN, adam, ends_early(5e-3, 800), 800),
        case(
            "schedule ended",
            "iris",
            {**IRIS, "activation": "tanh"},
            sgd,
            cosine(0.01, 50),
        ),
        case("schedule ended", "moons", MOONS, nesterov, trapezoid(5e-4, 80), 200),
        case("healthy", "sgd", {**BLOBS, "widths": (48,)}, sgd, 0.1, 600),
        case("healthy", "adagrad", {"widths": (48,)}, optax.adagrad, 0.01),
        case("healthy", "nadam", {**BLOBS, "activation": "gelu"}, optax.nadam, 1e-3),
        case("healthy", "lars", {}, lambda rate: optax.lars(rate), 0.3),
        case("healthy", "trapezoid", {"widths": (64,)}, optax.adamw, trapezoid(2e-3)),
        case("healthy", "moons", MOONS, adam, 3e-3, 800),
        case(
            "healthy",
            "moons, cosine",
            {**MOONS, "widths": (16, 16)},
            nesterov,
            cosine(0.1),
        ),
        case("healthy", "friedman", FRIEDMAN, adam, cosine(5e-3, 600), 600),
        case("healthy", "wide", {"widths": (256,)}, momentum, 3e-3),
        case(
            *("healthy", "deep, smoothed"),
            {"widths": (40,) * 4, "activation": "tanh", "smoothing": 0.05},
            *(adam, cosine(2e-3, 400, 60)),
        ),
        case(
            *("healthy", "linear fall", {"batch_size": 128}, decayed_sgd),
            optax.linear_schedule(0.05, 0.0, 400),
        ),
        case("healthy", "batch of 12", {"batch_size": 12}, optax.rmsprop, 3e-4, 800),
        case("healthy", "clipped", {**BLOBS, "widths": (32, 32)}, clipped_adam, 1e-3),
        case("healthy", "convolution", {"patches": True}, optax.lion, cosine(3e-4)),
        case(
            "healthy",
            "step decay",
            BLOBS,
            momentum,
            lambda count: jnp.where(count < 250, 0.02, 0.002),
        ),
        case("healthy", "iris, tanh", {**IRIS, "activation": "tanh"}, momentum, 5e-3),
        case(
            "healthy", "resumed", {**BLOBS, "widths": (64,)}, adam, 5e-4, change=resumed
        ),
        case(
            "healthy",
            "every fifth row",
            {"widths": (32,)},
            sgd,
            0.02,
            2000,
            change=every_fifth,
        ),
        case(
            "healthy",
            "every third row",
            {**BLOBS, "widths": (64,)},
            nesterov,
            cosine(0.03, 1200),
            1200,
            change=every_third,
        ),
        case(
            *("healthy", "full batch, adam", {"batch_size": None}, adam, 1e-3),
            change=without_noise_scale,
        ),
        case(
            *("healthy", "dropout"),
            {"dropout": 0.4, "widths": (96,)},
            *(adam, cosine(2e-3, 600), 600),
        ),
        toy(
            "healthy",
            "wide spectrum",
            quadratic(log_uniform(1e-4, 2), 2.0),
            nesterov,
            0.1,
        ),
    ]
