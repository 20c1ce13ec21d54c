"""Mean and variance of a batch, in one pass and without cancellation."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def moments(
    x: Float[Array, "..."],
    *,
    batch_axis: int = 0,
    axis_name: str | None = None,
    axis_index_groups: Any = None,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return mean and biased variance over the axes from `batch_axis` to the features.

        z = x_b - x_b0,    mean_b = x_b0 + E_b[z],    var_b = E_b[z²] - E_b[z]²
        mean = E[mean_b],    var = E[var_b + (mean_b - mean)²]

    E_b is the mean over the pixels of example b, and E over the examples, of all devices
    on `axis_name`. The origin x_b0, the example's first pixel, leaves the result as it is
    and lets both sums share one pass over x without cancelling, however far from zero the
    mean is. A pixel of N lies within sqrt(N) standard deviations of their mean: at worst
    the variance has N times the relative error of the sums, as a rule no more than they.
    E[x²] - E[x]² has theirs times (mean / std)². Both results keep the axes with length
    one.
    """
    pixels = tuple(range(batch_axis + 1, x.ndim - 1))
    first = tuple(slice(0, 1) if i in pixels else slice(None) for i in range(x.ndim))
    origin = lax.stop_gradient(x[first])
    z = x - origin
    offset = jnp.mean(z, pixels, keepdims=True)
    within = jnp.maximum(jnp.mean(z * z, pixels, keepdims=True) - offset * offset, 0)
    means = origin + offset

    def average(statistic: Array) -> Array:
        here = jnp.mean(statistic, batch_axis, keepdims=True)
        if axis_name is None:
            return here
        return lax.pmean(here, axis_name, axis_index_groups=axis_index_groups)

    mean = average(means)
    return mean, average(within + (means - mean) ** 2)
