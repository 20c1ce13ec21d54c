"""What the gradients of single examples look like, layer by layer."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._paths import Arrays, Examples
from optix_tricks._tree import PyTree
from optix_tricks.dynamics.batches._micro_batches import (
    GradientProducts,
    gradient_products,
)
from optix_tricks.dynamics.batches._noise_scale import NoiseScale, noise_scale_of


class GradientStatistics(NamedTuple):
    """Of the gradients g_i of a batch's examples and their mean ḡ."""

    gradient_norm: Float[Array, "*layers"]  # |ḡ|, in loss per parameter
    noise_scale: NoiseScale  # in examples: the batch size that the norm test asks for
    inner_product_test: Float[Array, "*layers"]  # likewise; inf where |G|² <= 0
    kurtosis: Float[Array, "*layers"]  # E|g_i - ḡ|⁴ / (E|g_i - ḡ|²)²


def gradient_statistics(
    loss: Callable[[PyTree, PyTree], Float[Array, ""]],
    params: Arrays,
    batch: Examples,
    *,
    micro_batch_size: int = 1,
    chunk_size: int | None = None,
) -> tuple[GradientStatistics, dict[str, GradientStatistics]]:
    """Measure mean, noise, tests of the batch size and tails of the gradients.

        norm test             B >= tr Σ / |G|²
        inner-product test    B >= Var(g_i·G) / |G|⁴
        kurtosis              E|g_i - ḡ|⁴ / (E|g_i - ḡ|²)²

    The tests ask at which batch size the gradient's error is as large as the gradient,
    whole or along it; for other bounds θ divide by θ² (0.9² in Bollapragada et al.). The
    norm test's size is the noise scale, whose inverse is the signal-to-noise ratio of one
    example; what it has more than the inner-product test is the part across the gradient,
    the orthogonality test. The kurtosis is 1 + 2/d for normal noise in d equal
    directions; far more says that few examples make the noise: outliers, wrong labels.

    Helps to find the layers whose gradients are noise, and batches that are large enough
    for the right direction: that takes less than the norm test. Hurts nothing. Does
    little for networks whose examples see each other, as `gradient_noise_scale`, and
    where that is undecided. Cost: that of `gradient_noise_scale`.

    Args:
        loss: `loss(params, batch)`, the mean over a batch of any size.
        params: A tree of float arrays; 16-bit ones are derived as float32.
        batch: A tree of arrays, examples along their first axis.
        micro_batch_size: Examples for one g_i. All but the kurtosis, which falls with
            it, are given for single examples.
        chunk_size: Micro-batches in memory at a time; None is all.

    Returns:
        Statistics of all parameters together, and of each layer by its path.

    Raises:
        ValueError: if sizes do not divide, or there are fewer than 3 micro-batches.

    Examples:
        >>> x = jax.random.normal(jax.random.key(0), (1000, 10))
        >>> def loss(params, x):  # gradients w - x and b
        ...     half_squares = jnp.sum((params["w"][None] - x) ** 2, axis=-1) / 2
        ...     return jnp.mean(half_squares) + params["b"]
        >>> params = {"w": jnp.full(10, 0.5**0.5), "b": jnp.ones(())}
        >>> whole, layers = gradient_statistics(loss, params, x)
        >>> for name, layer in layers.items():
        ...     sizes = layer.noise_scale.noise_scale, layer.inner_product_test
        ...     print(f"{name}: {sizes[0]:.1f}, {sizes[1]:.1f}")
        b: 0.0, 0.0
        w: 2.0, 0.2

    Source: "Sample Size Selection in Optimization Methods for Machine Learning", Byrd,
    Chin, Nocedal and Wu, 2012, section 3; "Adaptive Sampling Strategies for Stochastic
    Optimization", Bollapragada, Byrd and Nocedal, 2018, section 2.
    """
    paths, products = gradient_products(loss, params, batch, micro_batch_size, chunk_size)
    layers = _statistics(products, micro_batch_size)
    whole = jax.tree.map(lambda x: jnp.sum(x, axis=1), products)
    return _statistics(whole, micro_batch_size), {
        path: jax.tree.map(lambda x, i=i: x[i], layers) for i, path in enumerate(paths)
    }


def _statistics(products: GradientProducts, micro_batch_size: int) -> GradientStatistics:
    noise_scale = noise_scale_of(products, micro_batch_size)
    signal = noise_scale.signal
    divisor = jnp.where(signal > 0, signal, jnp.nan)
    relative = micro_batch_size * jnp.var(products.along / divisor[None], axis=0, ddof=1)
    spread = products.spread / jnp.mean(products.spread, axis=0, keepdims=True)
    return GradientStatistics(
        gradient_norm=jnp.sqrt(jnp.maximum(jnp.mean(products.along, axis=0), 0)),
        noise_scale=noise_scale,
        inner_product_test=jnp.where(signal > 0, relative, jnp.inf),
        kurtosis=jnp.mean(spread**2, axis=0),
    )
