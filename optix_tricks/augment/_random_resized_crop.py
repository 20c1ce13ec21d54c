"""Crop a random part of each image and resize it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from optix_tricks.augment._boxes import TRIES, first_that_fits
from optix_tricks.augment._images import (
    Images,
    Limits,
    Resized,
    check_images,
    check_range,
    height_and_width,
    lay_out_like,
    to_dtype,
    to_float,
)
from optix_tricks.augment._resize import Method


def random_resized_crop(
    key: PRNGKeyArray,
    images: Images,
    *,
    size: int | tuple[int, int],
    scale: Limits = (0.08, 1.0),
    ratio: Limits = (3 / 4, 4 / 3),
    method: Method = "bilinear",
) -> Resized:
    """Crop a part of random area and shape from each image and resize it to `size`.

        a ~ U(scale) · H · W,    log r ~ U(log ratio),    w = √(a r),    h = √(a / r)
        out = resize(image[u : u + h, v : v + w], size)

    The corner (u, v) is uniform over the places at which the crop lies inside the image.
    Of ten crops the first that fits is taken, as in torchvision; where none does, the
    centre crop with the nearest allowed ratio. Smaller crops are interpolated, larger
    ones averaged (antialiased), from pixels of the crop alone. With `size` that of the
    images, `scale=(1, 1)` and `ratio` that of the images it is the identity.

    Helps where objects come in all sizes, as on ImageNet, and long runs; hurts short
    ones, and digits or small images at the default `scale`, which may leave out the
    object: 25 % of the area and more is usual then, up to 35. It makes objects larger
    than they are without it: evaluate at a higher resolution. Cost: two matrix products
    for each image, h' H W C + h' w' W C multiplications for h' x w' pixels out; the ten
    crops are drawn at once, without a loop.

    Beside others: takes the place of `random_crop`. Its `size` may follow
    `progressive_sizes`.

    Args:
        key: a PRNG key, used for nothing else.
        images: [batch, height, width, channel], uint8 or floating.
        size: height and width that come out, or one number for both.
        scale: least and largest share of the image's area.
        ratio: least and largest width / height, log-uniform between them.
        method: "bilinear" or "bicubic", see `resize`.

    Returns:
        Images of the new size, in the same dtype; uint8 is rounded to the nearest.

    Raises:
        ValueError: if `images` have another rank or dtype, `size` is not one or two
            whole numbers of at least one, `scale` or `ratio` is not a range, or
            `method` is unknown.

    Examples:
        >>> images = jnp.zeros((8, 40, 50, 3), jnp.uint8)
        >>> random_resized_crop(jax.random.key(0), images, size=32).shape
        (8, 32, 32, 3)

    Source: "Going Deeper with Convolutions", Szegedy et al., 2015, section 6.
    """
    check_images(images)
    new_height, new_width = height_and_width(size)
    check_range("scale", scale, largest=1)
    check_range("ratio", ratio)
    batch, height, width, _ = images.shape
    for_area, for_ratio, for_place = jax.random.split(key, 3)
    a = jax.random.uniform(for_area, (batch, TRIES), minval=scale[0], maxval=scale[1])
    a = a * height * width
    low, high = jnp.log(jnp.array(ratio))
    r = jnp.exp(jax.random.uniform(for_ratio, (batch, TRIES), minval=low, maxval=high))
    sides = jnp.sqrt(jnp.stack([a / r, a * r], axis=-1))
    boxes = first_that_fits(for_place, sides, height, width)
    fallback = jnp.array([_centre_crop(height, width, ratio)])
    boxes = jnp.where(boxes[:, 2:3] > 0, boxes, fallback)

    def crop(
        image: Float[Array, "height width channel"], box: Integer[Array, "4"]
    ) -> Float[Array, "new_height new_width channel"]:
        rows = _weights(box[0], box[2], height, new_height, method)
        columns = _weights(box[1], box[3], width, new_width, method)
        return jnp.einsum(
            "ih,jw,hwc->ijc",
            rows.astype(image.dtype),
            columns.astype(image.dtype),
            image,
            precision=jax.lax.Precision.HIGHEST,
        )

    out = jax.vmap(crop)(to_float(images), lay_out_like(images, boxes))
    return to_dtype(out, images.dtype)


def _centre_crop(height: int, width: int, ratio: Limits) -> tuple[int, int, int, int]:
    low, high = ratio
    new_height, new_width = height, width
    if width / height < low:
        new_height = round(width / low)
    elif width / height > high:
        new_width = round(height * high)
    top, left = (height - new_height) // 2, (width - new_width) // 2
    return top, left, new_height, new_width


def _weights(
    start: Integer[Array, ""],
    length: Integer[Array, ""],
    pixels: int,
    new_pixels: int,
    method: Method,
) -> Float[Array, "{new_pixels} {pixels}"]:
    """Each new pixel's weights of the `length` pixels from `start` on, along one axis."""
    scale = length / new_pixels
    centre = (jnp.arange(new_pixels, dtype=float)[:, None] + 0.5) * scale - 0.5
    position = jnp.arange(pixels)[None] - start
    distance = jnp.abs(position.astype(float) - centre) / jnp.maximum(scale, 1)
    weight = _triangle(distance) if method == "bilinear" else _cubic(distance)
    weight = jnp.where((position >= 0) & (position < length), weight, 0)
    return weight / jnp.sum(weight, axis=1, keepdims=True)


def _triangle(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.maximum(1 - x, 0)


def _cubic(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return jnp.where(x < 1, near, jnp.where(x < 2, far, 0))
