"""What another batch size would cost in steps, examples and time."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_nonnegative, check_positive
from optix_tricks.dynamics.batches._noise_scale import NoiseScale


class BatchTrade(NamedTuple):
    """Predictions for training to the same loss, each with the noise scale's interval."""

    noise_scale: Float[Array, " three"]  # estimate, low, high; in examples
    batch_size: Float[Array, " sizes"]
    steps: Float[Array, "three sizes"]
    examples: Float[Array, "three sizes"]  # batch_size * steps
    seconds: Float[Array, "three sizes"] | None  # steps times those of one
    min_steps: Float[Array, " three"]  # with batches without end
    min_examples: Float[Array, " three"]  # with batches of almost none


def batch_trade(
    noise_scale: NoiseScale | ArrayLike,
    batch_size: ArrayLike,
    *,
    current_batch_size: int,
    current_steps: int | float = 1.0,
    step_seconds: ArrayLike | None = None,
) -> BatchTrade:
    """Predict steps, examples and time at other batch sizes from the noise scale.

        S = S_min (1 + B_noise/B),    E = B S = E_min (1 + B/B_noise)

    and so E_min = B_noise S_min: at B = B_noise both are twice their least. A run of S_0
    steps at B_0 fixes the constants; with t = B_0 / (B_0 + B_noise)

        S = S_0 (t + (1 - t) B_0/B),    S_min = S_0 t,    E_min = S_0 B_0 (1 - t)

    The learning rate is taken to be tuned for each batch size: for plain SGD it grows as
    1 / (1 + B_noise/B), linearly while B is small.

    Helps to choose a batch size for a budget of time or of examples. Hurts if believed
    to a factor below about 2: B_simple stands for a mean over the run, weighted by the
    curvature, and momentum or a norm layer moves it. Cost: nothing.

    Args:
        noise_scale: From `gradient_noise_scale` or kin, or a number of examples. It grows
            during a run: take its mean over one.
        batch_size: B, the sizes to predict for [sizes].
        current_batch_size: B_0 >= 1.
        current_steps: S_0; 1 makes the steps relative to the run's.
        step_seconds: Measured time of a step at each size [sizes]; None predicts no time.

    Returns:
        `BatchTrade`; rows of its predictions are for the estimate, the low and the high
        end of the noise scale's interval.

    Raises:
        ValueError: if an argument is out of range, or `step_seconds` has another shape
            than `batch_size`.

    Examples:
        >>> sizes = jnp.array([50, 100, 200])
        >>> trade = batch_trade(100.0, sizes, current_batch_size=100, current_steps=2000)
        >>> print(trade.steps[0], trade.examples[0])
        [3000. 2000. 1500.] [150000. 200000. 300000.]
        >>> print(trade.min_steps[0], trade.min_examples[0])
        1000.0 100000.0

    Source: "An Empirical Model of Large-Batch Training", McCandlish, Kaplan, Amodei et
    al., 2018, sections 2.2 and 2.3.
    """
    check_count("current_batch_size", current_batch_size, minimum=1)
    check_positive("current_steps", current_steps)
    sizes = jnp.asarray(batch_size, float)
    if sizes.ndim != 1:
        raise ValueError(f"batch_size must have one axis, got shape {list(sizes.shape)}.")
    noise = _with_interval(noise_scale)
    share = current_batch_size / (current_batch_size + noise)  # of the gradient in g²
    ratio = (current_batch_size / sizes)[None]
    steps = current_steps * (share[:, None] + (1 - share)[:, None] * ratio)
    seconds = None
    if step_seconds is not None:
        step_seconds = jnp.asarray(step_seconds, float)
        if step_seconds.shape != sizes.shape:
            raise ValueError(
                "step_seconds must have the shape of batch_size, "
                f"{list(sizes.shape)}, got {list(step_seconds.shape)}."
            )
        seconds = steps * step_seconds[None]
    return BatchTrade(
        noise_scale=noise,
        batch_size=sizes,
        steps=steps,
        examples=steps * sizes[None],
        seconds=seconds,
        min_steps=current_steps * share,
        min_examples=current_steps * current_batch_size * (1 - share),
    )


def _with_interval(noise_scale: Any) -> Array:
    if isinstance(noise_scale, NoiseScale):
        ends = noise_scale.noise_scale, noise_scale.low, noise_scale.high
    else:
        check_nonnegative("noise_scale", noise_scale, finite=False)
        ends = (noise_scale,) * 3
    values = [jnp.asarray(x).astype(float) for x in ends]
    if values[0].ndim:
        raise ValueError(
            "noise_scale must be of all parameters together, got shape "
            f"{list(values[0].shape)}."
        )
    return jnp.stack(values)
