"""Gradient noise scale of a run as it goes, from two norms a step."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._checks import check_decay
from optix_tricks.dynamics.batches._noise_scale import NoiseScale, fieller, unbiased_pair


class RunningNoiseScaleState(NamedTuple):
    """Averages over steps, each step weighted by `decay` to the power of its age."""

    weight: Float[Array, "*layers"]  # sum of the weights
    square_weight: Float[Array, "*layers"]  # sum of their squares
    noise: Float[Array, "*layers"]  # average tr Σ, in |g|²
    signal: Float[Array, "*layers"]  # average |G|²
    noise_square: Float[Array, "*layers"]  # weighted sums of squared deviations
    signal_square: Float[Array, "*layers"]
    product: Float[Array, "*layers"]


class RunningNoiseScale(NamedTuple):
    """Three pure functions; see `running_noise_scale`."""

    init: Callable[..., RunningNoiseScaleState]
    update: Callable[..., RunningNoiseScaleState]
    estimate: Callable[[RunningNoiseScaleState], NoiseScale]


def running_noise_scale(
    b_small: int | float, b_big: int | float, *, decay: float = 0.99
) -> RunningNoiseScale:
    """Follow the noise scale through a run, from the norms at two batch sizes.

        a_t = Σ_i β^(t-i) x_i / Σ_i β^(t-i),    B = a_t(tr Σ) / a_t(|G|²)

    x_i are the unbiased estimates of step i (`noise_scale_from_norms`). Both averages
    are free of the bias of their start, and divided only when read: an average of the
    steps' ratios would be of numbers with no mean, as |G|² is now and then near zero.
    The variance of an average follows from the spread over the steps times
    Σ β^(2(t-i)) / (Σ β^(t-i))²; drift within the window counts as spread.

    Helps to see the noise scale grow while the loss falls, and whether the batch is far
    from it. Hurts nothing. Does little in the first steps: the interval is wide. Cost: a
    squared norm per micro-batch and a dozen scalar operations; no gradient.

    Args:
        b_small: Examples in a micro-batch, or on a device.
        b_big: Examples in the whole batch, more than `b_small`.
        decay: β in [0, 1), a window of (1+β)/(1-β) steps.

    Returns:
        `init(shape=())`, the state of as many layers; `update(state, small_sq, big_sq)`,
        with the mean squared norm of the micro-batches' gradients and the squared norm
        of their mean, each of that shape; `estimate(state)`, the `NoiseScale`. A step
        with a norm that is not finite leaves the state as it was.

    Raises:
        ValueError: if `b_big` is not larger than `b_small` > 0, `decay` is out of range,
            or the norms' shapes differ.

    Examples:
        >>> init, update, estimate = running_noise_scale(8, 32, decay=0.9)
        >>> state = init()
        >>> for small_sq, big_sq in ((5.1, 2.0), (4.8, 2.1), (5.2, 1.9)):
        ...     state = update(state, small_sq, big_sq)
        >>> result = estimate(state)
        >>> print(f"{result.noise_scale:.0f} in [{result.low:.0f}, {result.high:.0f}]")
        33 in [24, 48]

    Source: "An Empirical Model of Large-Batch Training", McCandlish, Kaplan, Amodei et
    al., 2018, appendix A.1.
    """
    check_decay("decay", decay)
    unbiased_pair(0.0, 0.0, b_small, b_big)

    def init(shape: tuple[int, ...] = ()) -> RunningNoiseScaleState:
        return RunningNoiseScaleState(*(jnp.zeros(shape, jnp.float32) for _ in range(7)))

    def update(
        state: RunningNoiseScaleState, small_sq: Array | float, big_sq: Array | float
    ) -> RunningNoiseScaleState:
        noise, signal = unbiased_pair(small_sq, big_sq, b_small, b_big)
        weight = decay * state.weight + 1
        x, y = noise - state.noise, signal - state.signal  # from the averages before
        new = state._replace(
            weight=weight,
            square_weight=decay**2 * state.square_weight + 1,
            noise=state.noise + x / weight,
            signal=state.signal + y / weight,
        )
        rest = 1 - 1 / weight  # of a deviation, once the average has moved
        new = new._replace(
            noise_square=decay * state.noise_square + rest * x * x,
            signal_square=decay * state.signal_square + rest * y * y,
            product=decay * state.product + rest * x * y,
        )
        finite = jnp.isfinite(noise) & jnp.isfinite(signal)
        kept = (jnp.where(finite, a, b) for a, b in zip(new, state, strict=True))
        return RunningNoiseScaleState(*(x.astype(jnp.float32) for x in kept))

    def estimate(state: RunningNoiseScaleState) -> NoiseScale:
        share = state.square_weight / jnp.maximum(state.weight, 1) ** 2  # 1 / steps
        known = (state.weight > 0) & (share < 1)
        factor = share / jnp.where(known, state.weight * (1 - share), 1)
        return fieller(
            state.noise,
            state.signal,
            jnp.where(known, factor * state.noise_square, jnp.inf),
            jnp.where(known, factor * state.signal_square, jnp.inf),
            jnp.where(known, factor * state.product, 0),
        )

    return RunningNoiseScale(init, update, estimate)
