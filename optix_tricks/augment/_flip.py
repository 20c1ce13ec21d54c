"""Mirror images left to right."""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from optix_tricks.augment._images import Images, check_images


def random_flip(key: PRNGKeyArray, images: Images) -> Images:
    """Mirror each image left to right with probability 1/2.

        out[i, j] = image[i, W - 1 - j]    or    image[i, j]

    Helps where left and right mean the same, as in photographs; hurts digits, text, and
    medical images of organs that have a side. Cost: one pass over the images.

    Beside others: `alternating_flip` is the same without the luck. With `flip_predict` at
    test time the net has seen both views in training.

    Args:
        key: a PRNG key, used for nothing else.
        images: [batch, height, width, channel], uint8 or floating.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` have another rank or dtype.

    Examples:
        >>> images = jnp.arange(12, dtype=jnp.uint8).reshape(4, 1, 3, 1)
        >>> print(random_flip(jax.random.key(0), images)[:, 0, :, 0])
        [[ 0  1  2]
         [ 3  4  5]
         [ 8  7  6]
         [11 10  9]]

    Source: "ImageNet Classification with Deep Convolutional Neural Networks", Krizhevsky
    et al., 2012, section 4.1.
    """
    check_images(images)
    flipped = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(flipped, images[:, :, ::-1], images)
