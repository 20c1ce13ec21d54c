"""Shift images by a few pixels: a random crop of the padded image."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer, PRNGKeyArray

from optix_tricks._checks import check_count
from optix_tricks.augment._images import Images, check_images, lay_out_like


def random_crop(
    key: PRNGKeyArray,
    images: Images,
    *,
    padding: int = 4,
    mode: Literal["reflect", "zero"] = "reflect",
) -> Images:
    """Pad each image on all sides and crop its old size at a random place.

        out[i, j] = padded[i + u, j + v],    u, v uniform on {0, ..., 2 · padding}

    Also called translation and, with reflection, reflect-crop. With `padding=0` it is the
    identity. The reflected border is never built: its pixels are gathered from the image
    itself, which is faster than padding and slicing; for zeros it is not.

    Helps where objects are not centred exactly, as in photographs; part of every CIFAR
    recipe. Does little beside `random_resized_crop`. Hurts where the position is the
    label, and digits and letters that are reflected, which gain false strokes: take
    zeros. Cost: one pass over the images.

    Beside others: before `cutout` and `random_erasing`, so that what they erase is not
    mirrored in again. `multi_crop_predict` averages over such shifts at test time.

    Args:
        key: a PRNG key, used for nothing else.
        images: [batch, height, width, channel], uint8 or floating.
        padding: pixels added to each side.
        mode: "reflect" mirrors about the border pixel, without repeating it; "zero"
            pads with zeros.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` have another rank or dtype, `padding` is not a whole
            number of at least zero, `mode` is unknown, or the images are not larger
            than the padding that is to be reflected.

    Examples:
        >>> image = jnp.arange(1, 10, dtype=jnp.uint8).reshape(1, 3, 3, 1)
        >>> crop = random_crop(jax.random.key(2), image, padding=1, mode="zero")
        >>> print(crop[0, :, :, 0])
        [[5 6 0]
         [8 9 0]
         [0 0 0]]

    Source: "Deep Residual Learning for Image Recognition", He et al., 2016, section 4.2
    (padding 4, zeros).
    """
    check_images(images)
    check_count("padding", padding)
    batch, height, width, _ = images.shape
    if mode == "reflect" and padding >= min(height, width):
        raise ValueError(
            f"padding must be below the image's {min(height, width)} pixels to be"
            f' reflected, got {padding}; use mode="zero" for more.'
        )
    corners = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)
    corners = lay_out_like(images, corners)
    if mode == "zero":
        sides = (padding, padding)
        padded = jnp.pad(images, ((0, 0), sides, sides, (0, 0)))

        def crop_padded(image: Array, corner: Array) -> Array:
            start = (corner[0], corner[1], 0)
            return jax.lax.dynamic_slice(image, start, images.shape[1:])

        return jax.vmap(crop_padded)(padded, corners)

    def crop_reflected(image: Array, corner: Array) -> Array:
        rows = _reflect(corner[0] - padding + jnp.arange(height), height)
        columns = _reflect(corner[1] - padding + jnp.arange(width), width)
        return image.at[rows[:, None], columns[None]].get(mode="promise_in_bounds")

    return jax.vmap(crop_reflected)(images, corners)


def _reflect(index: Integer[Array, "..."], size: int) -> Integer[Array, "..."]:
    last = size - 1
    return last - jnp.abs(last - jnp.abs(index))
