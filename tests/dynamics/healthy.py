"""Runs in good health: what `diagnose` must not find fault with.

As in `failures`, thresholds were chosen on these, and results are reported on those of
`held_out`. The right verdict is "healthy" or "converged"; "undecided" is no alarm.
"""

from collections.abc import Callable

import numpy as np
import optax

from optix_tricks.dynamics import History
from tests.dynamics.failures import (
    Case,
    case,
    ends_early,
    momentum,
    toy,
)
from tests.dynamics.toys import (
    log_uniform,
    quadratic,
    walls,
)


def nesterov(rate) -> optax.GradientTransformation:
    return optax.sgd(rate, momentum=0.9, nesterov=True)


def cosine(peak: float, steps: int = 400, warmup: int = 0) -> Callable:
    first = 0.0 if warmup else peak
    return optax.warmup_cosine_decay_schedule(first, peak, warmup, steps)


def trapezoid(peak: float, steps: int = 400) -> Callable:
    """Up, constant, and down over the last third."""
    knees = [steps // 10, 2 * steps // 3]
    pieces = [
        optax.linear_schedule(0.0, peak, knees[0]),
        optax.constant_schedule(peak),
        optax.linear_schedule(peak, 0.0, steps - knees[1]),
    ]
    return optax.join_schedules(pieces, knees)


def steps_down(peak: float, *at: int) -> Callable:
    return optax.piecewise_constant_schedule(peak, dict.fromkeys(at, 0.1))


def rows(history: History, kept: slice) -> History:
    """Some of the rows, and the tests that were made from the first of them on."""
    found = {}
    for name, x in history._asdict().items():
        if isinstance(x, dict):
            found[name] = {layer: values[kept] for layer, values in x.items()}
        elif x is not None and name.startswith("test"):
            found[name] = x[history.test_step >= history.step[kept][0]]
        elif x is not None:
            found[name] = x[kept]
    return History(**found)


def resumed(history: History) -> History:
    """From step 101 on, one row without a number, as after a crash."""
    loss = history.loss.copy()
    loss[150] = np.nan
    return rows(history._replace(loss=loss), slice(100, None))


def every_fifth(history: History) -> History:
    return rows(history, slice(4, None, 5))


def without_noise_scale(history: History) -> History:
    """A full batch tells nothing of noise."""
    return history._replace(noise_scale=None)


def tuning() -> list[Case]:
    adam, sgd = optax.adam, optax.sgd
    cancer, teacher = {"data": "breast_cancer"}, {"data": "teacher"}
    blobs, friedman = {"data": "classification"}, {"data": "friedman1", "batch_size": 32}
    wine = {"data": "wine", "batch_size": 16}
    convolution = {"patches": True}
    early = quadratic([0.1, 1, 10], 3.0, 0.05)
    return [
        toy("converged", "quadratic", early, sgd, 0.15),
        case("converged", "digits", {}, momentum, ends_early(0.1, 800), 800),
        case("schedule ended", "digits", {}, momentum, cosine(2e-3, 40)),
        case("schedule ended", "narrow", {"widths": (4,)}, adam, cosine(3e-3, 120), 200),
        case("schedule ended", "blobs", blobs, nesterov, cosine(1e-3, 60)),
        case("schedule ended", "friedman", friedman, adam, trapezoid(1e-3, 60), 200),
        case("healthy", "sgd", {}, sgd, 0.1),
        case("healthy", "momentum", {"widths": (64, 64)}, momentum, 0.02),
        case("healthy", "adam", {"activation": "gelu"}, adam, 1e-3),
        case("healthy", "warm-up, cosine", {}, nesterov, cosine(0.1, warmup=80)),
        case("healthy", "step decay", {}, sgd, steps_down(0.1, 200, 300)),
        case("healthy", "small batch", {"batch_size": 8}, sgd, 0.02),
        case("healthy", "smoothing", {"smoothing": 0.1}, momentum, cosine(0.05)),
        case("healthy", "dropout", {"dropout": 0.3, "widths": (64,)}, optax.adamw, 2e-3),
        case(
            *("healthy", "full batch", {"batch_size": None}, sgd, 0.3),
            change=without_noise_scale,
        ),
        case("healthy", "resumed", {}, sgd, 0.05, change=resumed),
        toy("healthy", "power law", quadratic(log_uniform(1e-4, 1), 3.0), sgd, 1.0),
        toy(
            "converged", "stiff", quadratic([0.3, 3, 30], 2.0, 0.02), momentum, 0.01, 600
        ),
        case("converged", "wine", wine, momentum, ends_early(0.05, 800), 800),
        case("converged", "convolution", convolution, adam, ends_early(3e-3, 600), 600),
        case("healthy", "sgd, teacher", {**teacher, "widths": (64,)}, sgd, 0.2, 600),
        case("healthy", "nesterov, tanh", {"activation": "tanh"}, nesterov, 0.01),
        case("healthy", "rmsprop", {"widths": (48, 48)}, optax.rmsprop, 5e-4),
        case("healthy", "lion", {"activation": "gelu"}, optax.lion, 2e-4),
        case("healthy", "lamb", {"widths": (48,)}, optax.lamb, 0.01),
        case("healthy", "adamw, deep", {"widths": (32,) * 6}, optax.adamw, 1e-3),
        case("healthy", "convolution", convolution, momentum, cosine(0.02)),
        case("healthy", "warm-up", {**teacher}, adam, cosine(3e-3, 600, 100), 600),
        case(
            "healthy", "steps, adam", {"widths": (64,)}, adam, steps_down(2e-3, 150, 300)
        ),
        case("healthy", "batch of 4", {"batch_size": 4}, sgd, 0.01, 1000),
        case(
            "healthy", "smoothing, adam", {"smoothing": 0.2}, adam, cosine(2e-3, 400, 40)
        ),
        case(
            *("healthy", "dropout, teacher"),
            {**teacher, "dropout": 0.2, "widths": (64,)},
            *(momentum, cosine(0.05)),
        ),
        case("healthy", "cancer", {**cancer, "batch_size": 32}, sgd, 0.05),
        case("healthy", "wine", wine, sgd, 0.02),
        case(
            *("healthy", "regression"),
            {"data": "diabetes", "widths": (16,), "batch_size": 32},
            *(momentum, cosine(0.01)),
        ),
        case(
            "healthy", "resumed, wide", {"widths": (48,)}, momentum, 0.005, change=resumed
        ),
        case(
            *("healthy", "every fifth row", {"widths": (48,)}, adam, cosine(1e-3, 2000)),
            2000,
            change=every_fifth,
        ),
        case(
            *("healthy", "edge of stability"),
            {"batch_size": None, "activation": "tanh"},
            *(sgd, 1.0),
            change=without_noise_scale,
        ),
        toy(
            "healthy",
            "power law, stiff",
            quadratic(log_uniform(1e-3, 5), 1.0),
            momentum,
            0.02,
        ),
        toy("healthy", "walls", walls(0.7), adam, 0.01),
    ]
