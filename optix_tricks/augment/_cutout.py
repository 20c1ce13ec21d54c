"""Erase a square of each image."""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from optix_tricks._checks import check_count
from optix_tricks.augment._boxes import inside
from optix_tricks.augment._images import Fill, Images, check_images, fill_values


def cutout(key: PRNGKeyArray, images: Images, *, size: int, fill: Fill = 0.0) -> Images:
    """Set a square of each image to a constant.

        out[i, j] = fill    for u - ⌊size/2⌋ <= i < u - ⌊size/2⌋ + size
                            and v - ⌊size/2⌋ <= j < v - ⌊size/2⌋ + size
                  = image[i, j]    elsewhere

    The centre (u, v) is uniform over the image's pixels. Where the square reaches over
    the border it is clipped, and fewer than size² pixels are erased, as in the paper.
    With `size=0` it is the identity.

    Helps long runs on small images, where the net overfits; costs accuracy in short
    ones. Erase after normalisation, or fill with the mean, so that the square is grey.
    Cost: one pass over the images.

    Args:
        key: a PRNG key, used for nothing else.
        images: [batch, height, width, channel], uint8 or floating.
        size: the square's side in pixels; a square of an odd side is centred on (u, v).
        fill: the value, one for all channels or one for each.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` have another rank or dtype, `size` is not a whole number
            of at least zero, or `fill` is not a value that uint8 images can take.

    Examples:
        >>> image = jnp.ones((1, 4, 5, 1), jnp.uint8)
        >>> print(cutout(jax.random.key(0), image, size=3)[0, :, :, 0])
        [[0 0 1 1 1]
         [0 0 1 1 1]
         [0 0 1 1 1]
         [1 1 1 1 1]]

    Source: "Improved Regularization of Convolutional Neural Networks with Cutout",
    DeVries and Taylor, 2017; in their code an odd size erases size - 1 pixels a side.
    """
    check_images(images)
    check_count("size", size)
    value = fill_values(images, fill)
    batch, height, width, _ = images.shape
    centres = jax.random.randint(key, (batch, 2), 0, jnp.array([[height, width]]))
    sides = jnp.full_like(centres, size)
    boxes = jnp.concatenate([centres - size // 2, sides], axis=1)
    return jnp.where(inside(images, boxes), value[None, None, None], images)
