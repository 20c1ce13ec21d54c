"""The fourteen operations of RandAugment and TrivialAugment, without a branch.

Under `jax.vmap` a switch computes every branch for every image. Here the five geometric
operations are one warp, whose map differs, and the four of colour and sharpness one
blend, whose other image differs; so an image costs seven small passes rather than
fourteen, whatever it drew. They are stacked before one is taken, since a compiler that
merges them with the choice computes them over and over.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer, UInt8

from optix_tricks._tree import wide_dtype
from optix_tricks.augment._colour import blend, check_colours, grey, mean_grey
from optix_tricks.augment._images import (
    Fill,
    Images,
    check_images,
    fill_values,
    lay_out_like,
)
from optix_tricks.augment._warp import Interpolation, warp

Image = UInt8[Array, "height width channel"]
Scalar = Float[Array, ""]

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
PASSES = ("shear_x", "brightness", "posterize", "solarize", "autocontrast", "equalize")
FIRST_OF_PASS = tuple(OPERATIONS.index(name) for name in PASSES)


class Space(NamedTuple):
    """How far each operation goes at the full magnitude of 30."""

    shear: float  # tangent
    translate: tuple[float, float]  # down and right, in pixels
    rotate: float  # degrees
    enhance: float  # factors are 1 plus or minus this
    posterize: int  # bits that are dropped


def check_operands(images: Array, fill: Fill) -> None:
    """Raise unless `operate_on` can work with them."""
    check_images(images)
    check_colours(images)
    fill_values(images, fill)


def operate_on(
    images: Images,
    operations: Integer[Array, "batch draws"],
    signed: Float[Array, "batch draws"],
    *,
    space: Space,
    interpolation: Interpolation,
    fill: Fill,
) -> Images:
    """Apply to each image its operations in turn; floating ones as 256 levels."""
    values = _to_levels(fill_values(images, fill))
    apply = functools.partial(
        operate, space=space, interpolation=interpolation, fill=values
    )

    def augment(image: Array, operations: Array, signed: Array) -> Array:
        draws = operations, signed
        return lax.scan(lambda x, draw: (apply(x, *draw), None), image, draws)[0]

    draws = lay_out_like(images, operations), lay_out_like(images, signed)
    levels = jax.vmap(augment)(_to_levels(images), *draws)
    if images.dtype == jnp.uint8:
        return levels
    return (levels.astype(wide_dtype(images.dtype)) / 255).astype(images.dtype)


def _to_levels(values: Array) -> Array:
    if values.dtype == jnp.uint8:
        return values
    levels = jnp.round(255 * values.astype(wide_dtype(values.dtype)))
    return jnp.clip(levels, 0, 255).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnames=("space", "interpolation"))
def operate(
    image: Image,
    operation: Integer[Array, ""],
    signed: Scalar,
    *,
    space: Space,
    interpolation: Interpolation,
    fill: Array,
) -> Image:
    """Apply `OPERATIONS[operation]` at the magnitude |signed|, of 30, and its sign."""
    magnitude = jnp.abs(signed)
    outcomes = [
        image,
        geometric(
            image, operation, signed, space=space, interpolation=interpolation, fill=fill
        ),
        enhanced(image, operation, space.enhance / 30 * signed),
        posterize(image, space.posterize * magnitude / 30),
        solarize(image, magnitude),
        autocontrast(image),
        equalize(image),
    ]
    which = jnp.sum(operation >= jnp.array(FIRST_OF_PASS))
    return jnp.stack(outcomes)[which]


def geometric(
    image: Image,
    operation: Integer[Array, ""],
    signed: Scalar,
    *,
    space: Space,
    interpolation: Interpolation,
    fill: Array,
) -> Image:
    """Shear about the upper left corner, translate, or turn about the centre."""

    def if_drawn(name: str, strength: Scalar) -> Scalar:
        return jnp.where(operation == OPERATIONS.index(name), strength, 0.0)

    height, width, _ = image.shape
    shear = space.shear / 30 * signed
    shear_x, shear_y = if_drawn("shear_x", shear), if_drawn("shear_y", shear)
    # The product first: 8.75 / 30 of 24 falls short of 7 pixels, and would be 6.
    down, right = (jnp.trunc(full * signed / 30) for full in space.translate)
    down, right = if_drawn("translate_y", down), if_drawn("translate_x", right)
    angle = jnp.radians(if_drawn("rotate", space.rotate / 30 * signed))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    matrix = (
        (cos, shear_x - sin, shear_x * height / 2 - right),
        (shear_y + sin, cos, shear_y * width / 2 - down),
    )
    return warp(image, matrix, interpolation=interpolation, fill=fill)


def enhanced(image: Image, operation: Integer[Array, ""], change: Scalar) -> Image:
    """Blend with black, grey, the mean grey or a smooth image."""
    black = jnp.zeros(image.shape, jnp.float32)
    degenerates = black, grey(image), mean_grey(image), smooth(image)
    which = jnp.clip(operation - OPERATIONS.index("brightness"), 0, 3)
    return blend(image, lax.select_n(which, *degenerates), 1 + change)


def smooth(image: Image) -> Float[Array, "height width channel"]:
    """Return the mean over 3 x 3 pixels, the middle counting five times; borders stay."""
    height, width, _ = image.shape
    levels = image.astype(jnp.int32)
    padded = jnp.pad(levels, ((1, 1), (1, 1), (0, 0)))
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    box = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    mean = (box + 4 * levels + 6) // 13  # to the nearest level
    y, x = jnp.arange(height)[:, None], jnp.arange(width)[None, :]
    interior = (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)
    return jnp.where(interior[..., None], mean, levels).astype(jnp.float32)


def posterize(image: Image, bits: Scalar) -> Image:
    """Drop the lower bits of each level, to the nearest whole number of them."""
    dropped = jnp.round(bits).astype(jnp.uint8)
    return (image >> dropped) << dropped


def solarize(image: Image, magnitude: Scalar) -> Image:
    """Invert the levels from a threshold up: 255 at magnitude 0, none at 30."""
    below = image.astype(magnitude.dtype) < 255 - 8.5 * magnitude
    return jnp.where(below, image, 255 - image)


def autocontrast(image: Image) -> Image:
    """Stretch the levels of each channel to 0, ..., 255; a flat one stays."""
    levels = image.astype(jnp.int32)
    lowest = jnp.min(levels, axis=(0, 1), keepdims=True)
    highest = jnp.max(levels, axis=(0, 1), keepdims=True)
    width = jnp.broadcast_to(jnp.maximum(highest - lowest, 1), image.shape)
    stretched = lax.div((levels - lowest) * 255, width).astype(jnp.uint8)
    return jnp.where(highest > lowest, stretched, image)


def equalize(image: Image) -> Image:
    """Map each level to the share of its channel's pixels below it, of 255.

    The share is of the pixels below the highest level, and of fewer than 255 of them
    the channel stays, as in Pillow.
    """
    channels = image.shape[-1]
    channel = jnp.arange(channels)[None, None]
    counts = jnp.zeros((256, channels), jnp.int32).at[image, channel].add(1)
    below = jnp.cumsum(counts, axis=0) - counts
    below_highest = jnp.max(jnp.where(counts > 0, below, 0), axis=0, keepdims=True)
    step = jnp.broadcast_to(below_highest // 255, below.shape)
    equal = lax.div(step // 2 + below, jnp.maximum(step, 1))
    same = jnp.arange(256, dtype=jnp.int32)[:, None]
    table = jnp.where(step > 0, jnp.minimum(equal, 255), same).astype(jnp.uint8)
    return table.at[image, channel].get(mode="promise_in_bounds")
