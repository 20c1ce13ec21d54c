"""The decays of `tf.train` along a cosine."""

import optax
from jax.typing import ArrayLike
from jaxtyping import Array

from optix_tricks import schedules
from optix_tricks._checks import check_count
from optix_tricks._paths import Whole


def cosine_decay(
    learning_rate: ArrayLike, decay_steps: Whole, alpha: ArrayLike = 0.0
) -> optax.Schedule:
    """Fall along half a cosine to a fraction of the rate.

        value(t) = η · ((1 - α) · (1 + cos(π min(t, T) / T)) / 2 + α)

    Args:
        learning_rate: η.
        decay_steps: T, at least 1.
        alpha: α.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = cosine_decay(1.0, 100, alpha=0.1)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 50, 100, 200)])
        1 0.55 0.1 0.1

    Source: `tf.train.cosine_decay` of TensorFlow 1.
    """
    return schedules.cosine_decay_schedule(learning_rate, decay_steps, alpha)


def cosine_decay_restarts(
    learning_rate: ArrayLike,
    first_decay_steps: Whole,
    t_mul: int | float = 2.0,
    m_mul: ArrayLike = 1.0,
    alpha: ArrayLike = 0.0,
) -> optax.Schedule:
    """Fall along half a cosine, again and again.

        value(t) = η · ((1 - α) · d^i · (1 + cos(π (t - S_i) / T_i)) / 2 + α)
        for S_i <= t < S_i + T_i,  T_i = T m^i

    Args:
        learning_rate: η.
        first_decay_steps: T, at least 1.
        t_mul: m, at least 1. Where T m^i is not whole it is rounded here, while
            TensorFlow restarts between two steps.
        m_mul: d, how high each cycle is against the last.
        alpha: α.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = cosine_decay_restarts(1.0, 10, m_mul=0.8)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 5, 10, 20, 30)])
        1 0.5 0.8 0.4 0.64

    Source: `tf.train.cosine_decay_restarts` of TensorFlow 1.
    """
    check_count("first_decay_steps", first_decay_steps, minimum=1)
    return schedules.cosine_restarts_schedule(
        learning_rate, first_decay_steps, multiplier=t_mul, peak_decay=m_mul, alpha=alpha
    )


def linear_cosine_decay(
    learning_rate: ArrayLike,
    decay_steps: Whole,
    num_periods: ArrayLike = 0.5,
    alpha: ArrayLike = 0.0,
    beta: ArrayLike = 0.001,
) -> optax.Schedule:
    """Fall along a line times a cosine.

        value(t) = η · ((α + 1 - s) · (1 + cos(2π n s)) / 2 + β),  s = min(t, T) / T

    Args:
        learning_rate: η.
        decay_steps: T, at least 1.
        num_periods: n.
        alpha: α.
        beta: β.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> schedule = linear_cosine_decay(1.0, 100)
        >>> print(*[f"{schedule(t):.4g}" for t in (0, 50, 100, 200)])
        1.001 0.251 0.001 0.001

    Source: `tf.train.linear_cosine_decay` of TensorFlow 1.
    """
    return schedules.linear_cosine_decay(
        learning_rate, decay_steps, num_periods, alpha, beta
    )


def noisy_linear_cosine_decay(
    learning_rate: ArrayLike,
    decay_steps: Whole,
    initial_variance: ArrayLike = 1.0,
    variance_decay: ArrayLike = 0.55,
    num_periods: ArrayLike = 0.5,
    alpha: ArrayLike = 0.0,
    beta: ArrayLike = 0.001,
    *,
    key: Array | int,
) -> optax.Schedule:
    """Fall along a line with noise, times a cosine.

        value(t) = η · ((α + 1 - s + ε_t) · (1 + cos(2π n s)) / 2 + β)
        ε_t ~ N(0, V / (1 + t)^d),  s = min(t, T) / T

    Args:
        learning_rate: η.
        decay_steps: T, at least 1.
        initial_variance: V.
        variance_decay: d.
        num_periods: n.
        alpha: α.
        beta: β.
        key: a JAX key or a seed, of the noise; TensorFlow draws from its own generator.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> import jax
        >>> calm = noisy_linear_cosine_decay(1.0, 100, 0.0, key=jax.random.key(0))
        >>> print(*[f"{calm(t):.4g}" for t in (0, 50, 100, 200)])
        1.001 0.251 0.001 0.001

    Source: `tf.train.noisy_linear_cosine_decay` of TensorFlow 1.
    """
    return schedules.noisy_linear_cosine_decay(
        learning_rate,
        decay_steps,
        key=key,
        initial_variance=initial_variance,
        variance_decay=variance_decay,
        num_periods=num_periods,
        alpha=alpha,
        beta=beta,
    )
