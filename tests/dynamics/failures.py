"""Runs with a known illness: the labelled half of the suite that `diagnose` is held to.

Thresholds were chosen on the settings here and in `healthy`; results are reported on
those of `held_out`: other problems, networks, optimisers and rates, and other seeds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optax

from optix_tricks.dynamics import History
from tests.dynamics.small_runs import Problem, network, train
from tests.dynamics.toys import (
    bent_valley,
    deep_linear,
    log_uniform,
    product,
    quadratic,
    walls,
)

USUAL = ("step", "loss", "accuracy", "gradient_norm", "update_norm", "parameter_norm")
USUAL += ("learning_rate", "test_step", "test_loss", "test_accuracy")
MINIMAL = ("step", "loss", "gradient_norm")


class Case(NamedTuple):
    """A setting; `make(seeds)` returns a history for each."""

    kind: str  # the verdict that is right
    name: str
    make: Callable[[range], list[History]]


def keep(history: History, names: tuple[str, ...]) -> History:
    """The history as it were had only these been logged."""
    return History(**{n: x for n, x in history._asdict().items() if n in names})


def minimal(history: History) -> History:
    return keep(history, MINIMAL)


def clamped(history: History) -> History:
    """What an estimator logs that finds no slope beneath the noise."""
    return history._replace(noise_scale=np.full(len(history.loss), 1e9))


def momentum(rate: Any) -> optax.GradientTransformation:
    return optax.sgd(rate, momentum=0.9)


def case(
    kind: str,
    name: str,
    problem: Problem | dict,
    optimizer: Callable,
    rate: Any,
    steps: int = 400,
    *,
    curvature: bool = False,
    change: Callable[[History], History] = lambda history: history,
) -> Case:
    def make(seeds: range) -> list[History]:
        given = network(**problem) if isinstance(problem, dict) else problem
        histories = train(given, optimizer, rate, steps, seeds, curvature=curvature)
        return [change(history) for history in histories]

    return Case(kind, name, make)


def toy(kind: str, name: str, problem: Problem, *args: Any, **kwargs: Any) -> Case:
    return case(kind, f"toy, {name}", problem, *args, **{"curvature": True, **kwargs})


def ends_early(peak: float, steps: int) -> Callable:
    return optax.cosine_decay_schedule(peak, steps // 2)


NOISY = quadratic([0.3, 1, 3], 3.0, 1.0, noise=3.0)
NOISY_2 = quadratic(log_uniform(0.2, 2, 20), 2.0, 5.0, noise=2.0, batch_size=8)
HEARSAY = {"label_noise": 0.4, "examples": 120, "widths": (128,), "batch_size": 32}
TINY = {"widths": (32,) * 3, "activation": "tanh", "gain": 1e-3, "batch_size": None}


def tuning() -> list[Case]:
    deep = (24,) * 12
    sgd, adam = optax.sgd, optax.adam
    cancer, teacher = {"data": "breast_cancer"}, {"data": "teacher"}
    wine, diabetes = {"data": "wine", "batch_size": 16}, {"data": "diabetes"}
    return [
        toy("diverged", "quadratic", quadratic([0.1, 1, 10], 1.0), sgd, 0.3),
        toy("diverged", "slowly", quadratic([0.1, 1, 10], 1.0), sgd, 0.2015),
        case("diverged", "squared", {"squared": True}, sgd, 1.5),
        toy("rate too large", "walls", walls(0.5), sgd, 0.5),
        case("rate too large", "sgd", {"activation": "tanh"}, sgd, 30.0),
        case("rate too large", "adam", {}, adam, 1.0),
        toy("rate too small", "quadratic", quadratic([0.1, 1, 10], 1.0), sgd, 1e-5),
        case("rate too small", "sgd", {}, sgd, 1e-5),
        case("rate too small", "adam", {}, adam, 1e-7),
        toy("ill-conditioned", "crawl", quadratic([1e-4] * 20 + [1.0], 10.0), sgd, 1.0),
        toy("ill-conditioned", "bent", bent_valley(2000.0), sgd, 1e-4, 1000),
        case(
            *("ill-conditioned", "inputs"),
            {"widths": (), "shear": 4.0, "batch_size": None, "squared": True},
            *(sgd, 0.25),
            curvature=True,
        ),
        toy("critical point", "product", product(20, 1e-5), sgd, 0.01),
        toy("critical point", "linear", deep_linear(4, 0.02), sgd, 0.1),
        case("critical point", "tiny start", TINY, sgd, 0.1),
        case(
            *("vanishing gradients", "sigmoid"),
            {"widths": deep, "activation": "sigmoid"},
            *(sgd, 0.1),
        ),
        case(
            *("vanishing gradients", "teacher"),
            {"data": "teacher", "widths": deep, "activation": "sigmoid"},
            *(momentum, 0.02),
        ),
        case("exploding gradients", "relu", {"widths": deep, "gain": 3.0}, sgd, 1e-8),
        case(
            *("exploding gradients", "tanh"),
            {"widths": deep, "gain": 16.0, "activation": "tanh"},
            *(sgd, 1e-5),
        ),
        case("dead units", "bias", {"widths": (32, 32), "bias": -12.0}, sgd, 0.05),
        case("dead units", "wine", {"data": "wine", "bias": -10.0}, momentum, 0.02),
        case(
            *("plateau", "linear", {"data": "teacher", "widths": ()}, sgd, 0.3, 1000),
            change=minimal,
        ),
        toy("plateau", "noisy", NOISY, sgd, 0.1, change=minimal),
        case("over-fitting", "label noise", HEARSAY, momentum, 0.1),
        case("over-fitting", "small set", {**HEARSAY, "examples": 60}, adam, 3e-3),
        toy("noise floor", "quadratic", NOISY, sgd, 0.1),
        toy("noise floor", "quadratic, clamped", NOISY, sgd, 0.1, change=clamped),
        case(
            *("noise floor", "batch of 4"),
            {"batch_size": 4, "label_noise": 0.5, "widths": ()},
            *(sgd, 0.02, 3000),
        ),
        toy(
            *("batch too large", "quadratic"),
            quadratic(log_uniform(1e-3, 1), 3.0, 1.0, noise=0.3, batch_size=65536),
            *(sgd, 0.5, 200),
        ),
        case("batch too large", "full", {"batch_size": None}, sgd, 0.01, 100),
        toy("diverged", "stiff", quadratic(log_uniform(0.01, 50), 0.5), momentum, 0.08),
        case("diverged", "regression", diabetes, sgd, 3.0),
        case("diverged", "momentum", {**wine, "squared": True}, momentum, 1.0),
        toy("rate too large", "kinks", walls(0.4), sgd, 1.0),
        case(
            "rate too large", "momentum", {**teacher, "activation": "tanh"}, momentum, 3.0
        ),
        case(
            "rate too large", "rmsprop", {**teacher, "widths": (64,)}, optax.rmsprop, 0.5
        ),
        case("rate too large", "deep", {"widths": (32, 32, 32)}, adam, 0.5),
        toy("rate too small", "walls", walls(0.5), momentum, 1e-6),
        case("rate too small", "cancer", cancer, momentum, 1e-6),
        case("rate too small", "regression", diabetes, adam, 1e-6),
        case("rate too small", "convolution", {"patches": True}, sgd, 1e-5),
        toy(
            *("ill-conditioned", "far"),
            quadratic([*log_uniform(1e-6, 1e-4, 30), 3.0], 20.0),
            *(sgd, 0.5),
        ),
        toy("ill-conditioned", "bent, steeper", bent_valley(5000.0), sgd, 5e-5, 1000),
        case(
            *("ill-conditioned", "wine"),
            {**wine, "widths": (), "shear": 5.0, "batch_size": None},
            *(sgd, 4.0, 1000),
            curvature=True,
        ),
        toy("critical point", "product, wide", product(200, 1e-6), momentum, 0.002),
        toy("critical point", "linear, three", deep_linear(3, 0.01), sgd, 0.1),
        case(
            *("critical point", "mini-batches"),
            {**teacher, "widths": (24, 24), "activation": "tanh", "gain": 1e-4},
            *(sgd, 0.02),
        ),
        case(
            *("vanishing gradients", "16 layers"),
            {"widths": (16,) * 16, "activation": "sigmoid"},
            *(momentum, 0.01),
        ),
        case(
            *("vanishing gradients", "cancer"),
            {**cancer, "widths": (20,) * 10, "activation": "sigmoid"},
            *(sgd, 0.05),
        ),
        case(
            "exploding gradients",
            "wine",
            {**wine, "widths": (24,) * 9, "gain": 4.0},
            sgd,
            1e-9,
        ),
        case(
            *("exploding gradients", "tanh, teacher"),
            {**teacher, "widths": (32,) * 10, "gain": 12.0, "activation": "tanh"},
            *(momentum, 1e-6),
        ),
        case(
            "dead units",
            "adam",
            {**teacher, "widths": (48, 48), "bias": -12.0},
            adam,
            1e-3,
        ),
        case(
            "dead units",
            "cancer",
            {**cancer, "widths": (40,), "bias": -25.0},
            momentum,
            0.02,
        ),
        case(
            *("plateau", "label noise"),
            {"widths": (), "label_noise": 0.6},
            *(sgd, 0.1, 1000),
            change=minimal,
        ),
        toy("plateau", "noisy, 20", NOISY_2, momentum, 0.02, change=minimal),
        case(
            "over-fitting",
            "cancer",
            {**HEARSAY, **cancer, "batch_size": 16},
            momentum,
            0.05,
            1000,
        ),
        case(
            "over-fitting",
            "teacher",
            {**teacher, "examples": 80, "widths": (64, 64)},
            adam,
            2e-3,
        ),
        case(
            *("over-fitting", "regression"),
            {**diabetes, "examples": 100, "widths": (128,), "batch_size": 32},
            *(momentum, 0.02, 1000),
        ),
        toy("noise floor", "quadratic, 20", NOISY_2, momentum, 0.02),
        case(
            *("noise floor", "cancer"),
            {**cancer, "widths": (), "batch_size": 2, "label_noise": 0.6},
            *(sgd, 0.02, 4000),
        ),
        case(
            *("noise floor", "teacher"),
            {**teacher, "widths": (), "batch_size": 8, "label_noise": 0.3},
            *(sgd, 0.05, 2000),
        ),
        toy(
            *("batch too large", "quadratic, narrow"),
            quadratic(log_uniform(1e-2, 2), 2.0, 0.5, noise=0.2, batch_size=32768),
            *(momentum, 0.01, 200),
        ),
        case(
            "batch too large", "teacher", {**teacher, "batch_size": None}, sgd, 0.02, 100
        ),
    ]
