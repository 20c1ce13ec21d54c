"""One image seen through an affine map of its coordinates."""

from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._tree import wide_dtype

Interpolation = Literal["nearest", "bilinear"]


def warp(
    image: Array,
    matrix: tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]],
    *,
    interpolation: Interpolation,
    fill: Array,
) -> Array:
    """Return one image [height, width, channel] warped.

        out(x, y) = image(a x + b y + c, d x + e y + f),    matrix = (a, b, c), (d, e, f)

    x points right and y down, in pixels, from the image's centre. What lies outside of
    the image gets `fill`, one value for each channel; between its border and the centres
    of the border's pixels these are repeated, as in Pillow.
    """
    height, width, _ = image.shape
    x = jnp.arange(width, dtype=float)[None, :] + (0.5 - width / 2)
    y = jnp.arange(height, dtype=float)[:, None] + (0.5 - height / 2)
    (a, b, c), (d, e, f) = matrix
    column = a * x + b * y + c + width / 2  # from 0, the border, to width
    row = d * x + e * y + f + height / 2

    def pixels(row: Array, column: Array) -> Array:
        row = jnp.clip(row, 0, height - 1).astype(jnp.int32)
        column = jnp.clip(column, 0, width - 1).astype(jnp.int32)
        return image.at[row, column].get(mode="promise_in_bounds")

    if interpolation == "nearest":
        seen = pixels(jnp.floor(row), jnp.floor(column))
    else:
        top, left = jnp.floor(row - 0.5), jnp.floor(column - 0.5)
        down, right = (row - 0.5 - top)[..., None], (column - 0.5 - left)[..., None]
        upper = _between(pixels(top, left), pixels(top, left + 1), right)
        lower = _between(pixels(top + 1, left), pixels(top + 1, left + 1), right)
        seen = _between(upper, lower, down)
        seen = jnp.round(seen) if image.dtype == jnp.uint8 else seen
        seen = seen.astype(image.dtype)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return jnp.where(inside[..., None], seen, fill[None, None])


def _between(start: Array, end: Array, share: Array) -> Array:
    dtype = wide_dtype(start.dtype)
    start, end = start.astype(dtype), end.astype(dtype)
    return start + share * (end - start)
