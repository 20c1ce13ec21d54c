"""Erase a rectangle of each image."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Num, PRNGKeyArray

from optix_tricks._checks import check_fraction
from optix_tricks.augment._boxes import TRIES, first_that_fits, inside
from optix_tricks.augment._images import (
    Fill,
    Images,
    Limits,
    check_images,
    check_range,
    check_scalar,
    fill_values,
)


def random_erasing(
    key: PRNGKeyArray,
    images: Images,
    *,
    probability: ArrayLike = 0.5,
    area: Limits = (0.02, 0.4),
    aspect: Limits = (0.3, 1 / 0.3),
    fill: Fill | str = "noise",
) -> Images:
    """Replace a random rectangle of each image by noise or a constant.

        s ~ U(area) · H · W,    r ~ U(aspect),    h = √(s r),    w = √(s / r)
        out[i, j] = fill    for u <= i < u + h, v <= j < v + w
                  = image[i, j]    elsewhere

    The corner (u, v) is uniform over the places at which the rectangle lies inside the
    image, so that, unlike `cutout`'s square, it is never clipped. Of ten rectangles the
    first that fits is taken; where none does the image is left alone. With
    `probability=0` it is the identity.

    Helps where objects are partly hidden, person re-identification, and long runs that
    overfit; hurts short runs, and fine-tuning on few images. Cost: one pass over the
    images; with noise a random number for each of their values, which is most of the
    time.

    Beside others: instead of `cutout`, after the crops and before `mixup`. After
    normalisation, so that noise and zero are in the range of the images.

    Args:
        key: a PRNG key, used for nothing else.
        images: [batch, height, width, channel], uint8 or floating.
        probability: that an image is changed.
        area: least and largest share of the image that is erased.
        aspect: least and largest height / width, uniform between them.
        fill: "noise" draws each value anew, uniform on {0, ..., 255} for uint8 and
            standard normal for floating images; or a value, one for all channels or one
            for each.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` have another rank or dtype, `probability` is not in
            [0, 1], `area` or `aspect` is not a range, or `fill` is not a value that
            uint8 images can take.

    Examples:
        >>> image = jnp.ones((1, 4, 5, 1), jnp.uint8)
        >>> out = random_erasing(jax.random.key(0), image, probability=1, fill=0)
        >>> print(out[0, :, :, 0])
        [[1 1 1 1 1]
         [0 0 1 1 1]
         [0 0 1 1 1]
         [0 0 1 1 1]]

    Source: "Random Erasing Data Augmentation", Zhong et al., 2020, algorithm 1, with its
    ranges and uniform ratios; torchvision draws the ratio's logarithm, and erases with
    zeros and up to a third.
    """
    check_images(images)
    check_fraction("probability", probability)
    check_scalar("probability", probability)
    check_range("area", area, largest=1)
    check_range("aspect", aspect)
    batch, height, width, _ = images.shape
    for_choice, for_area, for_aspect, for_place, for_noise = jax.random.split(key, 5)
    if isinstance(fill, str):
        value = _noise(for_noise, images, fill)
    else:
        value = fill_values(images, fill)[None, None, None]
    s = jax.random.uniform(for_area, (batch, TRIES), minval=area[0], maxval=area[1])
    s = s * height * width
    low, high = aspect
    r = jax.random.uniform(for_aspect, (batch, TRIES), minval=low, maxval=high)
    sides = jnp.sqrt(jnp.stack([s * r, s / r], axis=-1))
    boxes = first_that_fits(for_place, sides, height, width)
    chosen = jax.random.bernoulli(for_choice, jnp.float32(probability), (batch, 1))
    boxes = jnp.where(chosen, boxes, 0)
    return jnp.where(inside(images, boxes), value, images)


def _noise(
    key: PRNGKeyArray, images: Images, fill: str
) -> Num[Array, "batch height width channel"]:
    if fill != "noise":
        raise ValueError(f'fill must be "noise" or a number, got {fill!r}.')
    if images.dtype == jnp.uint8:
        return jax.random.bits(key, images.shape, jnp.uint8)
    return jax.random.normal(key, images.shape, jnp.float32).astype(images.dtype)
