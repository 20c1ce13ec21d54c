"""Gradient noise scale: the batch size whose gradient is as large as its noise."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from optix_tricks._checks import check_positive
from optix_tricks._paths import Arrays, Examples
from optix_tricks._tree import PyTree, widen
from optix_tricks.dynamics.batches._micro_batches import (
    GradientProducts,
    gradient_products,
)

Z = 1.96  # half the width of a 95 % interval, in standard errors


class NoiseScale(NamedTuple):
    """A noise scale with its 95 % interval; |g| is in units of loss per parameter."""

    noise_scale: Float[Array, "*layers"]  # tr Σ / |G|², in examples; inf if |G|² <= 0
    standard_error: Float[Array, "*layers"]  # of it, by the delta method; inf if unknown
    low: Float[Array, "*layers"]  # in examples
    high: Float[Array, "*layers"]  # inf where the gradient is below its noise
    decided: Bool[Array, "*layers"]  # whether `high` is finite
    noise: Float[Array, "*layers"]  # tr Σ of one example, in |g|²
    noise_error: Float[Array, "*layers"]
    signal: Float[Array, "*layers"]  # |G|², unbiased: it may be negative
    signal_error: Float[Array, "*layers"]


def gradient_noise_scale(
    loss: Callable[[PyTree, PyTree], Float[Array, ""]],
    params: Arrays,
    batch: Examples,
    *,
    micro_batch_size: int = 1,
    chunk_size: int | None = None,
) -> NoiseScale:
    """Measure the noise scale on one batch, from the gradients of its examples.

        B_simple = tr Σ / |G|²
        tr Σ = m/(n-1) Σ_i |g_i - ḡ|²,    |G|² = |ḡ|² - tr Σ / (n m)

    Σ is the covariance of one example's gradient, g_i the gradient of the i-th of n
    micro-batches of m examples. |ḡ|² alone is too large by the noise that is left in it;
    both estimates here are unbiased, for any m. Errors are those of the jackknife, the
    interval of the ratio is Fieller's, which is not symmetric and ends at infinity where
    the gradient cannot be told from zero: then take a larger batch. There the error of
    |G|² is up to √2 too large.

    Helps to choose a batch size: far below B_simple a batch twice as large halves the
    steps, far above it hardly saves any (`batch_trade`). Hurts nothing. Does little for a
    network whose examples see each other: with batch norm, freeze its statistics or take
    micro-batches of the size it is trained with. Cost: one gradient of the batch and one
    of each micro-batch, `chunk_size` of them in memory at a time.

    Args:
        loss: `loss(params, batch)`, the mean over a batch of any size.
        params: A tree of float arrays; 16-bit ones are derived as float32.
        batch: A tree of arrays, examples along their first axis.
        micro_batch_size: m, which divides the batch into at least 3.
        chunk_size: Micro-batches at a time, a divisor of their number; None is all. On a
            CPU convolutions are slow in chunks.

    Returns:
        `NoiseScale` of scalars, float32 or wider.

    Raises:
        ValueError: if sizes do not divide, or there are fewer than 3 micro-batches.

    Examples:
        >>> x = jax.random.normal(jax.random.key(0), (1000, 10))
        >>> def loss(w, x):  # its gradient is w - x: noise 10, gradient 0.5
        ...     return jnp.mean(jnp.sum((w[None] - x) ** 2, axis=-1)) / 2
        >>> result = gradient_noise_scale(loss, jnp.full(10, 0.5**0.5), x)
        >>> print(f"{result.low:.1f} {result.noise_scale:.1f} {result.high:.1f}")
        1.9 2.0 2.2

    Source: "An Empirical Model of Large-Batch Training", McCandlish, Kaplan, Amodei et
    al., 2018, section 2 and appendix A.1.
    """
    _, products = gradient_products(loss, params, batch, micro_batch_size, chunk_size)
    whole = jax.tree.map(lambda x: jnp.sum(x, axis=1), products)
    return noise_scale_of(whole, micro_batch_size)


def noise_scale_from_norms(
    small_sq: Float[Array, "*steps"],
    big_sq: Float[Array, "*steps"],
    *,
    b_small: int | float,
    b_big: int | float,
) -> NoiseScale:
    """Measure the noise scale from gradient norms at two batch sizes.

        |G|² = (B |g_B|² - b |g_b|²) / (B - b)
        tr Σ = (|g_b|² - |g_B|²) / (1/b - 1/B)

    Each step gives an unbiased pair; their averages over the steps are divided, not
    their ratios averaged. Micro-batches of gradient accumulation, or the devices of a
    mesh, have the norms at hand: |g_b|² is the mean of the squared norms of their
    gradients, g_B the mean gradient. Then one step is `gradient_noise_scale` again.

    Helps where per-example gradients are dear, or the run has ended and its norms were
    logged. Hurts if the steps lie far apart in training: the noise scale grows, and an
    average over it is no one's. Does little with few steps or b close to B: see the
    interval. Cost: no gradient beyond those of the run, a norm per micro-batch.

    Args:
        small_sq: |g_b|², squared norms at the small batch, one a step [steps].
        big_sq: |g_B|² likewise. A second axis, of layers, is kept.
        b_small: Examples in the small batch.
        b_big: Examples in the big one, more than `b_small`.

    Returns:
        `NoiseScale`; from one step alone its errors are infinite.

    Raises:
        ValueError: if `b_big` is not larger than `b_small` > 0, or shapes differ.

    Examples:
        >>> small, big = jnp.array([5.1, 4.8, 5.2, 5.0]), jnp.array([2.0, 2.1, 1.9, 2.0])
        >>> result = noise_scale_from_norms(small, big, b_small=8, b_big=32)
        >>> print(f"{result.noise:.1f} / {result.signal:.1f} = {result.noise_scale:.0f}")
        32.3 / 1.0 = 33

    Source: "An Empirical Model of Large-Batch Training", McCandlish, Kaplan, Amodei et
    al., 2018, appendix A.1.
    """
    noise, signal = unbiased_pair(small_sq, big_sq, b_small, b_big)
    return ratio_of_means(jnp.atleast_1d(noise), jnp.atleast_1d(signal))


def unbiased_pair(
    small_sq: Any, big_sq: Any, b_small: int | float, b_big: int | float
) -> tuple[Array, Array]:
    """Return tr Σ and |G|² of each step."""
    check_positive("b_small", b_small)
    if not b_big > b_small:
        raise ValueError(
            f"b_big must be larger than b_small, got {b_big!r} and {b_small!r}."
        )
    small_sq, big_sq = widen(jnp.asarray(small_sq)), widen(jnp.asarray(big_sq))
    if small_sq.shape != big_sq.shape:
        raise ValueError(
            "small_sq and big_sq must have one shape, got "
            f"{list(small_sq.shape)} and {list(big_sq.shape)}."
        )
    b_small, b_big = float(b_small), float(b_big)
    noise = (small_sq - big_sq) / (1 / b_small - 1 / b_big)
    return noise, (b_big * big_sq - b_small * small_sq) / (b_big - b_small)


def noise_scale_of(products: GradientProducts, micro_batch_size: int) -> NoiseScale:
    """Return the noise scale with the jackknife's pseudo-values as its samples.

    Both tr Σ and |G|² are averages over pairs of micro-batches: of |g_i - g_j|²/2 and of
    g_i·g_j. With r_i such an average over the pairs of i, and U over all, the
    pseudo-value n U - (n-1) U_(without i) is U + 2 (n-1)/(n-2) (r_i - U).
    """
    square, along, spread = products
    n = len(square)

    def pseudo(r: Array) -> Array:
        u = jnp.mean(r, axis=0, keepdims=True)
        return u + 2 * (n - 1) / (n - 2) * (r - u)

    half_differences = n * (spread + jnp.mean(spread, axis=0, keepdims=True)) / 2
    noise = micro_batch_size * half_differences / (n - 1)
    return ratio_of_means(pseudo(noise), pseudo((n * along - square) / (n - 1)))


def ratio_of_means(
    noise: Float[Array, "samples ..."], signal: Float[Array, "samples ..."]
) -> NoiseScale:
    """Return the ratio of two averages of independent pairs."""
    n = len(noise)
    means = jnp.mean(noise, axis=0), jnp.mean(signal, axis=0)
    if n == 1:
        unknown = jnp.full_like(means[0], jnp.inf)
        return fieller(*means, unknown, unknown, jnp.zeros_like(unknown))
    x, y = noise - means[0][None], signal - means[1][None]
    second = [jnp.sum(a * b, axis=0) / (n * (n - 1)) for a, b in ((x, x), (y, y), (x, y))]
    return fieller(*means, *second)


def fieller(
    noise: Array, signal: Array, noise_var: Array, signal_var: Array, covariance: Array
) -> NoiseScale:
    """Return all B >= 0 with (noise - B signal)² <= Z² Var(noise - B signal).

    A negative signal counts as zero there, which makes the interval wider, and negative
    noise, which is none, is never decided.
    """
    scale = jnp.maximum(noise, jnp.abs(signal))
    scale = jnp.where(scale > 0, scale, 1)
    s, g = noise / scale, jnp.maximum(signal, 0) / scale
    s_var, g_var, cov = (x / scale / scale for x in (noise_var, signal_var, covariance))
    a, b, c = g**2 - Z**2 * g_var, s * g - Z**2 * cov, s**2 - Z**2 * s_var
    sum_ = b + jnp.sqrt(jnp.maximum(b**2 - a * c, 0))
    high = jnp.where(a > 0, sum_ / jnp.where(a > 0, a, 1), jnp.inf)
    low = jnp.where(c > 0, c / jnp.where(c > 0, sum_, 1), 0)
    ratio = jnp.where(g > 0, s / jnp.where(g > 0, g, 1), jnp.inf)
    error = jnp.sqrt(jnp.maximum(s_var - 2 * ratio * cov + ratio**2 * g_var, 0)) / g
    return NoiseScale(
        ratio,
        jnp.where(error >= 0, error, jnp.inf),
        jnp.where(noise < 0, 0, low),
        jnp.where(noise < 0, jnp.maximum(high, 0), high),
        jnp.isfinite(high) & (noise >= 0),
        noise,
        jnp.sqrt(noise_var),
        signal,
        jnp.sqrt(signal_var),
    )
