"""The bytes of a picture file as uint8 pixels."""

import io

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
    pil, ops = needed("PIL.Image"), needed("PIL.ImageOps")
    picture = pil.open(io.BytesIO(content))
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
    if picture.mode != mode:
        picture = picture.convert(mode)
    if size is not None:
        height, width = size
        picture = ops.fit(picture, (width, height), method=pil.Resampling.BILINEAR)
    return np.asarray(picture).reshape(picture.height, picture.width, -1)
