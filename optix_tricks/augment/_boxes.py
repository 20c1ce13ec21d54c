"""Rectangles in images: one that fits into the image, and the pixels it covers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from optix_tricks.augment._images import Images, lay_out_like

TRIES = 10


def first_that_fits(
    key: PRNGKeyArray, sides: Float[Array, "batch tries 2"], height: int, width: int
) -> Integer[Array, "batch 4"]:
    """Place the first of several rectangles that fits into an image.

    All are drawn at once, as a loop over tries would wait for the unluckiest image.

    Args:
        key: a PRNG key, for the places.
        sides: height and width of the candidates; rounded to whole pixels.
        height: of the image.
        width: of the image.

    Returns:
        Boxes (top, left, height, width), uniform over the places inside the image; a box
        without pixels where no candidate fits.
    """
    limits = jnp.array([height, width])
    whole = jnp.round(sides).astype(int)
    fits = jnp.all((whole >= 1) & (whole <= limits[None, None]), axis=-1)
    first = jnp.argmax(fits, axis=1)[:, None, None]
    chosen = jnp.squeeze(jnp.take_along_axis(whole, first, axis=1), axis=1)
    chosen = jnp.where(jnp.any(fits, axis=1)[:, None], chosen, 0)
    corners = jax.random.randint(key, chosen.shape, 0, limits[None] - chosen + 1)
    return jnp.concatenate([corners, chosen], axis=1)


def inside(
    images: Images, boxes: Integer[Array, "batch 4"]
) -> Bool[Array, "batch height width 1"]:
    """Return which pixels the boxes (top, left, height, width) cover."""
    boxes = lay_out_like(images, boxes)[:, :, None, None, None]
    top, left, height, width = boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]
    row = jnp.arange(images.shape[1])[None, :, None, None]
    column = jnp.arange(images.shape[2])[None, None, :, None]
    in_rows = (row >= top) & (row < top + height)
    in_columns = (column >= left) & (column < left + width)
    return in_rows & in_columns
