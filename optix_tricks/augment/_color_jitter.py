"""Random brightness, contrast and saturation."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray

from optix_tricks._checks import check_nonnegative
from optix_tricks.augment._colour import blend, check_colours, grey, mean_grey
from optix_tricks.augment._images import (
    Images,
    check_images,
    check_scalar,
    lay_out_like,
    to_float,
)


def color_jitter(
    key: PRNGKeyArray,
    images: Images,
    *,
    brightness: ArrayLike = 0.0,
    contrast: ArrayLike = 0.0,
    saturation: ArrayLike = 0.0,
) -> Images:
    """Change each image's brightness, contrast and saturation by factors of its own.

        out = saturation(contrast(brightness(image, f₁), f₂), f₃),
        f_i uniform in [max(0, 1 - x_i), 1 + x_i]

    x are the three arguments, and the steps are `adjust_brightness`, `adjust_contrast`
    and `adjust_saturation`, always in this order; torchvision's draws an order for each
    call, and has a hue, which this has not. All three at zero are the identity. Each step
    clips: floating images are in [0, 1] and not normalised yet. Computed in float32;
    uint8 images are rounded down after each step, as in Pillow.

    Helps where light and cameras vary between pictures. Does little on small sets of
    similar pictures, such as CIFAR-10, where flips and crops do most; hurts where colour
    is the label, and images that are normalised already, which it clips. Cost: four
    passes over the images.

    Beside others: before normalisation. One of it and `rand_augment`, which does the same
    to some of the images, is enough.

    Args:
        key: a PRNG key, used for nothing else.
        images: [batch, height, width, channel], uint8, or floating in [0, 1]; of three
            channels, or of one, whose saturation stays.
        brightness: x₁, zero or positive; 0.4 is usual for all three.
        contrast: x₂.
        saturation: x₃.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` have another rank, dtype or number of channels, or one of
            the three is negative.

    Examples:
        >>> images = jnp.full((4, 1, 2, 3), 100, jnp.uint8)
        >>> jittered = color_jitter(jax.random.key(0), images, brightness=0.4)
        >>> print(jittered[:, 0, 0, 0])
        [135  97  84  73]

    Source: "Some Improvements on Deep Convolutional Neural Network Based Image
    Classification", Howard, 2013, section 2; the ranges are torchvision's.
    """
    check_images(images)
    check_colours(images)
    ranges = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for name, value in ranges.items():
        check_nonnegative(name, value)
        check_scalar(name, value)
    widths = jnp.stack([jnp.asarray(x, jnp.float32) for x in ranges.values()])[None]
    low, high = jnp.maximum(0, 1 - widths), 1 + widths
    share = jax.random.uniform(key, (images.shape[0], 3), jnp.float32)
    factors = lay_out_like(images, low + share * (high - low))

    def jitter(image: Array, factors: Array) -> Array:
        image = blend(image, jnp.zeros_like(image), factors[0])
        image = blend(image, mean_grey(image), factors[1])
        return blend(image, grey(image), factors[2])

    wide = images if images.dtype == jnp.uint8 else to_float(images)
    return jax.vmap(jitter)(wide, factors).astype(images.dtype)
