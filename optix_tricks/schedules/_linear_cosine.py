"""A line times a cosine, and the same with noise."""

import math

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_nonnegative, check_number
from optix_tricks._hyperparams import as_key
from optix_tricks._paths import Whole
from optix_tricks.schedules._progress import as_count, as_value, progress, within


def linear_cosine_decay(
    init_value: ArrayLike,
    decay_steps: Whole,
    num_periods: ArrayLike = 0.5,
    alpha: ArrayLike = 0.0,
    beta: ArrayLike = 0.001,
) -> optax.Schedule:
    """Fall along a line times a cosine.

        value(t) = I · ((α + l) · c + β),  l = 1 - s,  c = (1 + cos(2π n s)) / 2,
                   s = min(t / T, 1)

    It starts at I · (1 + α + β) and ends, with n = 1/2, at I · β. It falls faster than
    the cosine alone; n > 1/2 adds rises.

    Helps where the length of the run is known and half a cosine stays high for too long.
    Hurts in a run that is stopped before T, at a rate still high. Cost: free.

    Args:
        init_value: I.
        decay_steps: T, at least 1.
        num_periods: n, the periods of the cosine over T steps.
        alpha: α, added to the line.
        beta: β, added to the product.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `decay_steps` is not a whole number of at least 1, or
            `num_periods`, `alpha` or `beta` is negative.

    Examples:
        >>> schedule = linear_cosine_decay(1.0, decay_steps=100)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 25, 50, 100, 200)])
        1.001 0.6412 0.251 0.001 0.001

    Source: `tf.train.linear_cosine_decay` of TensorFlow 1; "Neural Optimizer Search with
    Reinforcement Learning", Bello et al., 2017.
    """
    _check(init_value, decay_steps, num_periods, alpha, beta)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        _, left = progress(count, 0, decay_steps)
        product = (as_value(alpha) + left) * _cosine(left, num_periods)
        return as_value(init_value) * (product + as_value(beta))

    return schedule


def noisy_linear_cosine_decay(
    init_value: ArrayLike,
    decay_steps: Whole,
    *,
    key: Array | int,
    initial_variance: ArrayLike = 1.0,
    variance_decay: ArrayLike = 0.55,
    num_periods: ArrayLike = 0.5,
    alpha: ArrayLike = 0.0,
    beta: ArrayLike = 0.001,
) -> optax.Schedule:
    """Fall along a line with noise, times a cosine.

        value(t) = I · ((α + l + ε_t) · c + β),  ε_t ~ N(0, V / (1 + t)^d)

    with l and c of `linear_cosine_decay`. The noise of step t is drawn from
    `jax.random.fold_in(key, t)`: it is a function of the key and the count alone, the
    same after a restart and under x64; from T on it stays.

    Helps where runs that had it are to be repeated. Hurts where the value is negative, a
    step uphill: with the default V = 1 the first ones often are. Cost: one draw a step.

    Args:
        init_value: I.
        decay_steps: T, at least 1.
        key: a JAX key or a seed, of the noise.
        initial_variance: V.
        variance_decay: d, the power by which the variance falls.
        num_periods: n, the periods of the cosine over T steps.
        alpha: α, added to the line.
        beta: β, added to the product.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `decay_steps` is not a whole number of at least 1, or another
            number is negative.

    Examples:
        >>> key = jax.random.key(0)
        >>> calm = noisy_linear_cosine_decay(1.0, 100, key=key, initial_variance=0.0)
        >>> print(*[f"{calm(t):.4g}" for t in (0, 25, 50, 100, 200)])
        1.001 0.6412 0.251 0.001 0.001

    Source: `tf.train.noisy_linear_cosine_decay` of TensorFlow 1, which draws anew at
    every reading; Bello et al., 2017.
    """
    _check(init_value, decay_steps, num_periods, alpha, beta)
    check_nonnegative("initial_variance", initial_variance)
    check_nonnegative("variance_decay", variance_decay)
    key = as_key(key)

    def schedule(count: ArrayLike) -> Float[Array, "..."]:
        _, left = progress(count, 0, decay_steps)
        count = as_count(count)
        steps = jnp.minimum(count, within(decay_steps, count))
        noise = _deviation(steps) * as_value(_normal(steps))
        product = (as_value(alpha) + left + noise) * _cosine(left, num_periods)
        return as_value(init_value) * (product + as_value(beta))

    def _deviation(steps: Array) -> Float[Array, "..."]:
        base = 1 + as_value(steps)
        return jnp.sqrt(as_value(initial_variance) * base ** -as_value(variance_decay))

    def _normal(steps: Array) -> Float[Array, "..."]:
        keys = jax.vmap(lambda step: jax.random.fold_in(key, step))(steps.ravel())
        draws = jax.vmap(lambda k: jax.random.normal(k, dtype=jnp.float32))(keys)
        return draws.reshape(steps.shape)

    return schedule


def _cosine(left: Array, num_periods: ArrayLike) -> Float[Array, "..."]:
    """(1 + cos(2π n (1 - left))) / 2 as a squared sine, exact and with digits at 0."""
    shift = jnp.mod(as_value(num_periods) - 0.5, 1)
    return jnp.sin(math.pi * (shift - as_value(num_periods) * left)) ** 2


def _check(
    init_value: ArrayLike,
    decay_steps: Whole,
    num_periods: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
) -> None:
    check_number("init_value", init_value)
    check_count("decay_steps", decay_steps, minimum=1)
    check_nonnegative("num_periods", num_periods)
    check_nonnegative("alpha", alpha)
    check_nonnegative("beta", beta)
