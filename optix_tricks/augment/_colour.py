"""Brightness, contrast and saturation: blends with an image that has lost them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_nonnegative
from optix_tricks._tree import wide_dtype
from optix_tricks.augment._images import Images, check_images, lay_out_like

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue


def adjust_brightness(images: Images, factor: ArrayLike) -> Images:
    """Blend each image with black.

        out = clip(factor · image)

    A factor of 0 is black, 1 the image, more is brighter. Rounded and clipped as
    `PIL.ImageEnhance.Brightness` does: uint8 images to [0, 255] and down to a level,
    floating ones to [0, 1], which is their range; computed in float32.

    Helps where the light varies between pictures. Hurts where brightness is the label,
    and images that are already normalised: the clip cuts them. Cost: one pass.

    Beside others: `color_jitter` draws the factors, for training; given ones test how
    robust a net is.

    Args:
        images: [batch, height, width, channel], uint8, or floating in [0, 1].
        factor: zero or positive, one for all images or one for each, [batch].

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` have another rank or dtype, or `factor` is negative or
            of another shape.

    Examples:
        >>> images = jnp.full((1, 1, 3, 1), 101, jnp.uint8)
        >>> print(adjust_brightness(images, 0.5)[0, :, :, 0])
        [[50 50 50]]

    Source: "Image Processing by Interpolation and Extrapolation", Haeberli and Voorhies,
    1994.
    """
    return _blend_each(images, factor, jnp.zeros_like)


def adjust_contrast(images: Images, factor: ArrayLike) -> Images:
    """Blend each image with a flat one of its mean grey.

        out = clip(m + factor · (image - m)),    m = mean of 0.299 R + 0.587 G + 0.114 B

    A factor of 0 is flat, 1 the image, more has more contrast. Rounded and clipped as
    `PIL.ImageEnhance.Contrast` does, within a level: uint8 images to [0, 255] and down,
    with m and the grey to the nearest; floating ones to [0, 1], which is their range;
    computed in float32.

    Helps where light and exposure vary between pictures. Hurts images that are already
    normalised: the clip cuts them. Cost: two passes, the mean first.

    Beside others: `color_jitter` draws the factors, for training; given ones test how
    robust a net is.

    Args:
        images: [batch, height, width, channel], uint8, or floating in [0, 1]; of three
            channels, or of one, which is its own grey.
        factor: zero or positive, one for all images or one for each, [batch].

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` have another rank, dtype or number of channels, or
            `factor` is negative or of another shape.

    Examples:
        >>> images = jnp.array([100, 101, 110], jnp.uint8).reshape(1, 1, 3, 1)
        >>> print(adjust_contrast(images, 2.0)[0, :, :, 0])
        [[ 96 98 116]]

    Source: "Image Processing by Interpolation and Extrapolation", Haeberli and Voorhies,
    1994.
    """
    return _blend_each(images, factor, mean_grey)


def adjust_saturation(images: Images, factor: ArrayLike) -> Images:
    """Blend each image with its grey one.

        out = clip(g + factor · (image - g)),    g = 0.299 R + 0.587 G + 0.114 B

    A factor of 0 is grey, 1 the image, more is more colourful; an image of one channel
    stays as it is. Rounded and clipped as `PIL.ImageEnhance.Color` does, within a
    level: uint8 images to [0, 255] and down, with g to the nearest; floating ones to
    [0, 1], which is their range; computed in float32. The weights are those of ITU-R
    601-2.

    Helps where colour says little about the class. Hurts where it tells the classes
    apart, as in flowers and birds, and images that are already normalised: the clip cuts
    them. Cost: one pass.

    Beside others: `color_jitter` draws the factors, for training; given ones test how
    robust a net is.

    Args:
        images: [batch, height, width, channel], uint8, or floating in [0, 1]; of three
            channels or one.
        factor: zero or positive, one for all images or one for each, [batch].

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` have another rank, dtype or number of channels, or
            `factor` is negative or of another shape.

    Examples:
        >>> images = jnp.array([200, 100, 0], jnp.uint8).reshape(1, 1, 1, 3)
        >>> for factor in (0.0, 0.5):
        ...     print(adjust_saturation(images, factor)[0, 0])
        [[118 118 118]]
        [[159 109  59]]

    Source: "Image Processing by Interpolation and Extrapolation", Haeberli and Voorhies,
    1994.
    """
    return _blend_each(images, factor, grey)


def _blend_each(
    images: Array, factor: ArrayLike, degenerate: Callable[[Array], Array]
) -> Images:
    check_images(images)
    check_nonnegative("factor", factor)
    if degenerate is not jnp.zeros_like:
        check_colours(images)
    batch = images.shape[0]
    factor = jnp.asarray(factor, jnp.float32)
    if factor.shape not in ((), (batch,)):
        raise ValueError(
            f"factor must be one number, or one for each of the {batch} images,"
            f" got shape {list(factor.shape)}."
        )
    factors = jnp.broadcast_to(factor[..., None], (batch, 1))

    def adjust(image: Array, factor: Array) -> Array:
        return blend(image, degenerate(image), factor[0])

    return jax.vmap(adjust)(images, lay_out_like(images, factors))


def blend(image: Array, degenerate: Array, factor: Float[Array, ""]) -> Array:
    """Return degenerate + factor · (image - degenerate), clipped; uint8 rounded down."""
    wide = image.astype(wide_dtype(image.dtype))
    degenerate, factor = degenerate.astype(wide.dtype), factor.astype(wide.dtype)
    white = 255 if image.dtype == jnp.uint8 else 1
    if image.dtype == jnp.uint8:
        mixed = degenerate + factor * (wide - degenerate)  # as Pillow rounds
    else:
        mixed = wide + (1 - factor) * (degenerate - wide)  # exactly the image at factor 1
    return jnp.clip(mixed, 0, white).astype(image.dtype)


def grey(image: Array) -> Array:
    """Return one image's luma in all its channels, in float32; of uint8, whole levels."""
    wide = image.astype(wide_dtype(image.dtype))
    if image.shape[-1] == 1:
        return wide
    in_levels = image.dtype == jnp.uint8
    weights = [round(w * 2**16) / 2**16 for w in LUMA] if in_levels else LUMA
    red, green, blue = (weight * wide[..., i] for i, weight in enumerate(weights))
    luma = red + green + blue
    luma = jnp.floor(luma + 0.5) if in_levels else luma
    return jnp.broadcast_to(luma[..., None], image.shape)


def mean_grey(image: Array) -> Array:
    """Return the mean of one image's luma, everywhere; of uint8, a whole level."""
    mean = jnp.mean(grey(image))
    if image.dtype == jnp.uint8:
        mean = jnp.floor(mean + 0.5)
    return jnp.broadcast_to(mean, image.shape)


def check_colours(images: Images) -> None:
    """Raise unless the images have a grey: three channels, or one.

    >>> check_colours(jnp.zeros((2, 8, 8, 4)))
    Traceback (most recent call last):
    ValueError: images must have 3 channels (red, green, blue) or 1 (grey), got 4; leave
    the others out.
    """
    if images.shape[-1] not in (1, 3):
        raise ValueError(
            "images must have 3 channels (red, green, blue) or 1 (grey),"
            f" got {images.shape[-1]}; leave the others out."
        )
