"""The fourteen operations of RandAugment on one image, without a branch.

Under `jax.vmap` a switch computes every branch for every image. Here the five geometric
operations are one warp, whose map differs, and the four of colour and sharpness one
blend, whose other image differs; so an image costs seven small passes rather than
fourteen, whatever it drew. They are stacked before one is taken, since a compiler that
merges them with the choice computes them over and over.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer, UInt8

from optix_tricks.augment._colour import blend, grey, mean_grey
from optix_tricks.augment._warp import warp

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


@functools.partial(jax.jit, static_argnames="interpolation")
def operate(
    image: Image,
    operation: Integer[Array, ""],
    signed: Scalar,
    *,
    interpolation: str,
    fill: Array,
) -> Image:
    """Apply `OPERATIONS[operation]` at the magnitude |signed|, of 30, and its sign."""
    magnitude = jnp.abs(signed)
    outcomes = [
        image,
        geometric(image, operation, signed, interpolation=interpolation, fill=fill),
        enhanced(image, operation, signed),
        posterize(image, magnitude),
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
    interpolation: str,
    fill: Array,
) -> Image:
    """Shear about the upper left corner, translate, or turn about the centre."""

    def strength(name: str) -> Scalar:
        return jnp.where(operation == OPERATIONS.index(name), signed, 0.0)

    height, width, _ = image.shape
    shear_x, shear_y = 0.01 * strength("shear_x"), 0.01 * strength("shear_y")
    right = jnp.trunc(150 / 331 * width / 30 * strength("translate_x"))
    down = jnp.trunc(150 / 331 * height / 30 * strength("translate_y"))
    angle = jnp.radians(strength("rotate"))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    matrix = (
        (cos, shear_x - sin, shear_x * height / 2 - right),
        (shear_y + sin, cos, shear_y * width / 2 - down),
    )
    return warp(image, matrix, interpolation=interpolation, fill=fill)


def enhanced(image: Image, operation: Integer[Array, ""], signed: Scalar) -> Image:
    """Blend with black, grey, the mean grey or a smooth image."""
    black = jnp.zeros(image.shape, jnp.float32)
    degenerates = black, grey(image), mean_grey(image), smooth(image)
    which = jnp.clip(operation - OPERATIONS.index("brightness"), 0, 3)
    return blend(image, lax.select_n(which, *degenerates), 1 + 0.03 * signed)


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


def posterize(image: Image, magnitude: Scalar) -> Image:
    """Keep the upper bits of each level: eight at magnitude 0, four at 30."""
    dropped = jnp.round(magnitude * 4 / 30).astype(jnp.uint8)
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
