"""Progressive resizing: small images first, larger ones later."""

import math
from typing import Literal

import jax

from optix_tricks._checks import check_count
from optix_tricks.augment._images import (
    Images,
    Resized,
    check_images,
    height_and_width,
    to_dtype,
    to_float,
)

Method = Literal["bilinear", "bicubic"]


def resize(
    images: Images, size: int | tuple[int, int], *, method: Method = "bilinear"
) -> Resized:
    """Resize all images, antialiased.

        out[i] = Σ_k w_ik image[k],    w_ik ∝ f((k + 1/2 - (i + 1/2) s) / max(s, 1))

    along each of both axes, with s the old size over the new one and f a triangle or
    Keys's cubic with a = -1/2: `jax.image.resize` in float32, with the dtype kept. At the
    size of the images it is the identity.

    Helps as the second half of progressive resizing, and evaluation at another
    resolution. Hurts fine detail when it makes images smaller. Cost: two matrix
    products for each image; a new `size` compiles what it is called in anew.

    Args:
        images: [batch, height, width, channel], uint8 or floating.
        size: height and width that come out, or one number for both.
        method: "bilinear", or "bicubic", which is sharper and overshoots at edges.

    Returns:
        Images of the new size, in the same dtype; uint8 is rounded to the nearest.

    Raises:
        ValueError: if `images` have another rank or dtype, `size` is not one or two
            whole numbers of at least one, or `method` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> image = jnp.array([[0, 100, 0, 200]], jnp.uint8).reshape(1, 1, 4, 1)
        >>> print(resize(image, (1, 2))[0, 0, :, 0])
        [ 43 100]

    Source: "Cubic Convolution Interpolation for Digital Image Processing", Keys, 1981.
    """
    check_images(images)
    batch, _, _, channel = images.shape
    shape = (batch, *height_and_width(size), channel)
    out = jax.image.resize(to_float(images), shape, method, antialias=True)
    return to_dtype(out, images.dtype)


def progressive_sizes(
    epochs: int,
    *,
    initial_size: int,
    final_size: int,
    ramp_start: int,
    ramp_end: int,
    multiple_of: int = 32,
) -> tuple[int, ...]:
    """Return the image size for each epoch: small, a ramp, then full.

        size = initial_size    before ramp_start,    final_size    from ramp_end on
             = the multiple of `multiple_of` nearest to the line between them, ties up

    Use `sizes[epoch]` as the size of `random_resized_crop` or `resize`. With
    `initial_size=final_size` the size is constant.

    Helps any convolutional net with global pooling: early epochs cost less, by the square
    of the size. Hurts where objects are small in the small images; a net without global
    pooling, or with learned positions, does not take another size at all. Does little
    where data loading is the bottleneck. Cost: the step is compiled once for each
    different size, `len(set(sizes))` times, which is why sizes come in multiples; coarser
    ones compile less often.

    Beside others: sizes are static, so loop over `set(sizes)` outside of `jit`. Batch
    statistics shift with the size: keep the last epochs at the full one.

    Args:
        epochs: of the run.
        initial_size: side in pixels at the start.
        final_size: side in pixels at the end.
        ramp_start: the last epoch at `initial_size`.
        ramp_end: the first epoch at `final_size`.
        multiple_of: what every size is a multiple of: the net's total stride or more.

    Returns:
        One size for each epoch.

    Raises:
        ValueError: if an argument is not a whole number, `ramp_start` is not below
            `ramp_end`, or a size is not a multiple of `multiple_of`.

    Examples:
        >>> progressive_sizes(
        ...     8, initial_size=128, final_size=192, ramp_start=2, ramp_end=6
        ... )
        (128, 128, 128, 160, 160, 192, 192, 192)

    Source: "FFCV: Accelerating Training by Removing Data Bottlenecks", Leclerc et al.,
    2023, in whose ImageNet recipe of 88 epochs the size goes from 160 to 192 over epochs
    65 to 76, in multiples of 32.
    """
    check_count("epochs", epochs)
    check_count("ramp_start", ramp_start)
    check_count("ramp_end", ramp_end)
    check_count("multiple_of", multiple_of, minimum=1)
    if ramp_start >= ramp_end:
        raise ValueError(
            f"ramp_start must be below ramp_end, {ramp_end}, got {ramp_start}."
        )
    for name, size in (("initial_size", initial_size), ("final_size", final_size)):
        check_count(name, size, minimum=1)
        if size % multiple_of:
            raise ValueError(
                f"{name} must be a multiple of multiple_of, {multiple_of}, got {size}."
            )

    def size_at(epoch: int) -> int:
        done = min(max((epoch - ramp_start) / (ramp_end - ramp_start), 0), 1)
        size = initial_size + done * (final_size - initial_size)
        return math.floor(size / multiple_of + 0.5) * multiple_of

    return tuple(size_at(epoch) for epoch in range(epochs))
