"""The bytes of a picture file as uint8 pixels."""

import io
from typing import Any

import numpy as np

from optix_tricks._extras import needed


def read_picture(
    content: bytes, mode: str = "RGB", *, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return the pixels of a picture, upright, uint8 [height, width, channel].

        8 bits     as they are; CMYK and palettes converted by Pillow, without a profile
        16 bits    grey: round(level / 257), so that 65,535 becomes 255;
                   colour: the upper byte, by Pillow
        32 bits    refused: what is white is not said

    Turned and mirrored as its EXIF orientation says, as every viewer shows it. What is
    transparent keeps the colour that lies there, as torchvision and TensorFlow have it.

    Args:
      content: of a file in any format that Pillow reads.
      mode: "RGB", or "L" for grey.
      size: height and width wanted: the largest part of that shape in the middle is
        taken and scaled by Pillow's bilinear filter, which averages what it makes
        smaller. A picture of that size stays as it is, as one does without.

    Raises:
      OSError, ValueError: if it is no picture, or one of levels whose range is unknown.
    """
    picture = converted(open_picture(content), mode)
    if size is not None:
        height, width = size
        ops, bilinear = needed("PIL.ImageOps"), needed("PIL.Image").Resampling.BILINEAR
        picture = ops.fit(picture, (width, height), method=bilinear)
    return pixels_of(picture)


def open_picture(content: bytes) -> Any:
    """Return a picture of Pillow's, of which nothing is decoded yet."""
    return needed("PIL.Image").open(io.BytesIO(content))


def converted(picture: Any, mode: str) -> Any:
    """Return a picture upright, in 8 bits and this mode; see `read_picture`."""
    pil, ops = needed("PIL.Image"), needed("PIL.ImageOps")
    ops.exif_transpose(picture, in_place=True)
    if picture.mode in ("I", "F"):
        raise ValueError(
            f"its levels are 32-bit numbers, Pillow's mode {picture.mode!r}, of unknown"
            " range; save it with 8 or 16 bits a channel"
        )
    if picture.mode.startswith("I;16"):
        levels = (np.asarray(picture).astype(np.uint32) + 128) // 257
        picture = pil.fromarray(levels.astype(np.uint8))
    if "transparency" in picture.info:  # else Pillow warns about each such palette
        picture = picture.convert("RGBA")
    return picture if picture.mode == mode else picture.convert(mode)


def pixels_of(picture: Any) -> np.ndarray:
    """Return a picture of Pillow's as uint8 [height, width, channel]."""
    return np.asarray(picture).reshape(picture.height, picture.width, -1)
