"""Turn images by a random angle."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray

from optix_tricks._checks import check_nonnegative
from optix_tricks.augment._images import (
    Fill,
    Images,
    check_images,
    check_scalar,
    fill_values,
    lay_out_like,
)
from optix_tricks.augment._warp import Interpolation, warp


def random_rotation(
    key: PRNGKeyArray,
    images: Images,
    *,
    degrees: ArrayLike,
    interpolation: Interpolation = "bilinear",
    fill: Fill = 0.0,
) -> Images:
    """Turn each image about its centre by an angle of its own.

        out(x, y) = image(x cos θ - y sin θ, x sin θ + y cos θ),
        θ uniform in [-degrees, degrees]

    x points right and y down from the centre ((height - 1) / 2, (width - 1) / 2), so a
    positive θ turns counter-clockwise. The size stays: corners leave the image, and what
    comes in from outside is `fill`. With `degrees=0` it is the identity. Coordinates and
    interpolation are in float32; uint8 images are rounded to the nearest level, where
    Pillow rounds down.

    Helps where objects stand at any small angle, as in photographs and handwriting. Hurts
    where the angle tells the classes apart, as 6 from 9, and thin lines by the blur of
    interpolation; corners are lost, and `fill` is a hint of the angle. Cost: four gathers
    of the images, one with "nearest".

    Beside others: before `random_crop`, which may then crop the empty corners away.
    `rand_augment` rotates too.

    Args:
        key: a PRNG key, used for nothing else.
        images: [batch, height, width, channel], uint8 or floating.
        degrees: the largest angle.
        interpolation: "bilinear", or "nearest", which makes no new values.
        fill: the value, one for all channels or one for each.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` have another rank or dtype, `degrees` is negative,
            `interpolation` is unknown, or `fill` is not a value that uint8 images can
            take.

    Examples:
        >>> image = jnp.zeros((1, 5, 5, 1), jnp.uint8).at[:, 2].set(8)
        >>> turned = random_rotation(jax.random.key(4), image, degrees=45)
        >>> print(turned[0, :, :, 0])
        [[0 0 0 0 0]
         [0 0 1 6 6]
         [0 3 8 3 0]
         [6 6 1 0 0]
         [0 0 0 0 0]]

    Source: "Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis", Simard et al., 2003, section 2 (affine distortions). Many CIFAR-100 recipes
    have 15 degrees.
    """
    check_images(images)
    check_nonnegative("degrees", degrees)
    check_scalar("degrees", degrees)
    values = fill_values(images, fill)
    draws = jax.random.uniform(key, (images.shape[0], 1), jnp.float32, -1, 1)
    angles = jnp.radians(draws * jnp.asarray(degrees, jnp.float32))

    def turn(image: Array, angle: Array) -> Array:
        cos, sin = jnp.cos(angle[0]), jnp.sin(angle[0])
        matrix = (cos, -sin, 0.0), (sin, cos, 0.0)
        return warp(image, matrix, interpolation=interpolation, fill=values)

    return jax.vmap(turn)(images, lay_out_like(images, angles))
