"""What augmentations share: checks of the images, dtypes, and how draws are laid out."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num, UInt8

from optix_tricks._checks import check_count, check_number, check_positive
from optix_tricks._tree import wide_dtype

Images = (
    UInt8[Array, "batch height width channel"]
    | Float[Array, "batch height width channel"]
)
Resized = (
    UInt8[Array, "batch new_height new_width channel"]
    | Float[Array, "batch new_height new_width channel"]
)
Fill = ArrayLike | Sequence[int | float]
Limits = tuple[int | float, int | float]


def check_images(images: Array) -> None:
    """Raise unless `images` are [batch, height, width, channel], uint8 or floating.

    >>> check_images(jnp.zeros((32, 32, 3)))
    Traceback (most recent call last):
    ValueError: images must be [batch, height, width, channel], got shape [32, 32, 3];
    add an axis to a single image.
    """
    if images.ndim != 4:
        raise ValueError(
            "images must be [batch, height, width, channel],"
            f" got shape {list(images.shape)}; add an axis to a single image."
        )
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"images must be uint8 or floating, got {images.dtype};"
            " convert them with astype."
        )


def to_float(images: Images) -> Float[Array, "batch height width channel"]:
    """Return `images` in float32, or in float64 where they are."""
    return images.astype(wide_dtype(images.dtype))


def to_dtype(values: Float[Array, "*shape"], dtype: Any) -> Num[Array, "*shape"]:
    """Return what was computed in the images' dtype; uint8 is rounded to the nearest.

    >>> print(to_dtype(jnp.array([-3.0, 1.4, 1.6, 300.0]), jnp.uint8))
    [  0   1   2 255]
    """
    if dtype == jnp.uint8:
        values = jnp.clip(jnp.round(values), 0, 255)
    return values.astype(dtype)


def fill_values(images: Images, fill: Fill) -> Num[Array, " channel"]:
    """Return one value for each channel, in the dtype of `images`; raise if it has none.

    >>> fill_values(jnp.zeros((1, 2, 2, 3), jnp.uint8), 127.5)
    Traceback (most recent call last):
    ValueError: fill must be a whole number in [0, 255] for uint8 images, got 127.5;
    convert the images to a floating dtype first.
    """
    check_number("fill", fill)
    known = not isinstance(fill, jax.core.Tracer)
    if images.dtype == jnp.uint8 and known and not np.isin(fill, range(256)).all():
        raise ValueError(
            f"fill must be a whole number in [0, 255] for uint8 images, got {fill!r};"
            " convert the images to a floating dtype first."
        )
    values, channels = jnp.asarray(fill, images.dtype), images.shape[-1]
    if values.ndim > 1 or values.size not in (1, channels):
        raise ValueError(
            f"fill must be one number, or one for each of the {channels} channels, got"
            f" an array of shape {values.shape}."
        )
    return jnp.broadcast_to(values, (channels,))


def check_scalar(name: str, value: Any) -> None:
    """Raise unless `value` is one number for all images.

    >>> check_scalar("degrees", jnp.array([90.0, 0.0]))
    Traceback (most recent call last):
    ValueError: degrees must be one number for all images, got shape [2].
    """
    if jnp.ndim(value):
        shape = list(jnp.shape(value))
        raise ValueError(f"{name} must be one number for all images, got shape {shape}.")


def height_and_width(size: Any) -> tuple[int, int]:
    """Return both sides of `size`, a whole number or two; raise if it is neither.

    >>> height_and_width(32)
    (32, 32)
    """
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2:
        raise ValueError(f"size must be one number or two, height and width, got {size}.")
    for side in sides:
        check_count("size", side, minimum=1)
    return sides[0], sides[1]


def check_range(name: str, limits: Any, *, largest: int | float = math.inf) -> None:
    """Raise unless `limits` are two numbers with 0 < least <= most <= `largest`.

    >>> check_range("area", (0.4, 0.02), largest=1)
    Traceback (most recent call last):
    ValueError: area must be two numbers, the smaller first, got (0.4, 0.02).
    """
    if len(limits) != 2 or limits[0] > limits[1]:
        raise ValueError(f"{name} must be two numbers, the smaller first, got {limits}.")
    check_positive(name, limits[0])
    check_number(name, limits[1])
    if limits[1] > largest:
        raise ValueError(f"{name} must be at most {largest}, got {limits}.")


def lay_out_like(
    images: Images, draws: Num[Array, "batch numbers"]
) -> Num[Array, "batch numbers"]:
    """Return `draws` sharded over the batch as `images` are, their values unchanged.

    `jax.vmap` wants that of all that it maps over, where a mesh's axes are explicit. A
    sum takes its sharding from both operands; the compiler drops the zeros.
    """
    return draws + jnp.zeros_like(images[:, :1, 0, 0], draws.dtype)
