"""Mean and variance of a batch, in one pass and as right as its numbers are."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def moments(
    x: Float[Array, "..."],
    narrow: Float[Array, "..."],
    *,
    batch_axis: int = 0,
    axis_name: str | None = None,
    axis_index_groups: Any = None,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return mean and biased variance over the axes from `batch_axis` to the features.

    Both keep the axes with length one and are those of all devices on `axis_name`.
    E[x²] - E[x]² loses (mean / std)² times a rounding of the sums, which is too much for
    float32 and float16. There each example has an origin of its own, its first pixel
    x_b0, which lets both sums share one pass over x however far from zero the mean is:

        z = x_b - x_b0,    mean_b = x_b0 + E_b[z],    var_b = E_b[z²] - E_b[z]²
        mean = E[mean_b],    var = E[var_b + (mean_b - mean)²]

    E_b is the mean over the pixels of example b, and E over the examples. A pixel of N
    lies within sqrt(N) standard deviations of their mean: at worst the variance has N
    times the relative error of the sums, as a rule no more than they.

    Of bfloat16, E[x²] - E[x]² is what is computed: squares are exact in float32, and
    where the loss would matter, rounding x to bfloat16 has changed the variance by more.
    So a compiler makes the sums where it makes x, in the epilogue of a convolution, and
    devices exchange them at once.

    Args:
      x: in a wide dtype.
      narrow: x as it was before it was widened. The origin is read from there: a TPU
        would otherwise write all of x, widened, for the sake of one pixel, and keep it
        for the backward pass.
      batch_axis: of the examples.
      axis_name: the axis over which the batch is split.
      axis_index_groups: of its devices.
    """
    pixels = tuple(range(batch_axis + 1, x.ndim - 1))

    def average(*statistics: Array, axes: tuple[int, ...]) -> tuple[Array, ...]:
        here = tuple(jnp.mean(s, axes, keepdims=True) for s in statistics)
        if axis_name is None:
            return here
        return lax.pmean(here, axis_name, axis_index_groups=axis_index_groups)

    if _is_coarse(narrow, x):
        mean, square = average(x, x * x, axes=(batch_axis, *pixels))
        return mean, jnp.maximum(square - mean**2, 0)

    first = tuple(slice(0, 1) if i in pixels else slice(None) for i in range(x.ndim))
    origin = lax.stop_gradient(narrow[first]).astype(x.dtype)
    z = x - origin
    offset = jnp.mean(z, pixels, keepdims=True)
    within = jnp.maximum(jnp.mean(z * z, pixels, keepdims=True) - offset * offset, 0)
    means = origin + offset
    (mean,) = average(means, axes=(batch_axis,))
    # The distances' sum is zero: a gradient through their mean would wait for one more
    # exchange between the devices to find that.
    apart = (means - lax.stop_gradient(mean)) ** 2
    (var,) = average(within + apart, axes=(batch_axis,))
    return mean, var


def _is_coarse(narrow: Array, x: Array) -> bool:
    """Whether rounding to `narrow` moves a variance by more than sums of x do.

    Rounding by ulp² / 12, where an ulp is half of eps |x| or more; sums by a few times
    eps mean² / 2.
    """
    coarse, fine = (float(jnp.finfo(a.dtype).eps) for a in (narrow, x))
    return coarse**2 / 48 > 4 * fine / 2
