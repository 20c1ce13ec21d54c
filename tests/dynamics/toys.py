"""Losses that are written down: valleys, walls, saddles."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from tests.dynamics.small_runs import Problem, surface


def quadratic(
    eigenvalues: Any, start: float, offset: float = 0.0, **given: Any
) -> Problem:
    def loss(x):
        return jnp.sum(jnp.asarray(eigenvalues, jnp.float32) * x**2) / 2 + offset

    return surface(loss, start * np.ones(len(eigenvalues), np.float32), **given)


def bent_valley(scale: float) -> Problem:
    """Steep across and shallow along y = x^2 (Rosenbrock)."""

    def loss(x):
        return (1 - x[0]) ** 2 + scale * (x[1] - x[0] ** 2) ** 2

    return surface(loss, np.float32([-1.2, 1.44]))


def walls(power: float) -> Problem:
    """Walls that become straight: a bounce between them neither dies out nor leaves."""

    def loss(x):
        return jnp.sum((x[:4] ** 2 + 1e-3) ** power) + jnp.sum(x[4:] ** 2) / 200 + 0.1

    return surface(loss, np.ones(12, np.float32))


def deep_linear(layers: int, gain: float, width: int = 8) -> Problem:
    def loss(params):
        y = jnp.eye(width)
        for kernel in params.values():
            y = y @ kernel
        return jnp.mean((y - jnp.eye(width)) ** 2)

    start = {f"layer{i:02}": np.zeros((width, width), np.float32) for i in range(layers)}
    return surface(loss, start, jitter=gain / width**0.5)


def product(size: int, jitter: float) -> Problem:
    def loss(params):
        return (1 - params["a"] @ params["b"]) ** 2 / 2 + 0.5

    return surface(loss, {n: np.zeros(size, np.float32) for n in "ab"}, jitter=jitter)


def log_uniform(low: float, high: float, number: int = 50) -> np.ndarray:
    return np.logspace(np.log10(low), np.log10(high), number)
