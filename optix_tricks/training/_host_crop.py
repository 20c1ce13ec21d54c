"""A crop of one size out of images of many, on the host."""

import dataclasses
from typing import Any

import numpy as np

from optix_tricks._checks import check_count
from optix_tricks._extras import needed
from optix_tricks.training._dataset import DataError
from optix_tricks.training._pictures import (
    converted,
    open_picture,
    pixels_of,
    read_picture,
)

Limits = tuple[int | float, int | float]
METHODS = ("bilinear", "bicubic")
ORIENTATION = 0x0112  # the EXIF tag


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """Crop a part of random area and shape, and resize it to a square, on the host.

        a ~ U(scale) · H · W,    log r ~ U(log ratio),    w = √(a r),    h = √(a / r)

    The corner is uniform. Of ten crops the first that fits is taken, else the largest
    central square. Resizing is Pillow's bilinear one, which averages where it shrinks.
    It brings images of all sizes to one, as `optix_tricks.augment.random_resized_crop`
    cannot, which runs on the accelerator and wants one size to begin with.

    >>> crop = RandomResizedCrop(32)
    >>> crop(np.random.default_rng(0), np.zeros((375, 500, 3), np.uint8)).shape
    (32, 32, 3)
    """

    size: int  # pixels of a side
    scale: Limits = (0.08, 1.0)  # share of the image's area
    ratio: Limits = (3 / 4, 4 / 3)  # width / height
    method: str = "bilinear"  # or "bicubic"

    def __post_init__(self) -> None:
        check_count("size", self.size, minimum=1)
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be 0 < low <= high <= 1, got {self.scale}.")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be 0 < low <= high, got {self.ratio}.")
        if self.method not in METHODS:
            raise ValueError(f"method must be {' or '.join(METHODS)}, got {self.method}.")

    def __call__(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        """Return uint8 [size, size, channel] of 1, 3 or 4 channels.

        Raises:
          DataError: if the image is not uint8 of three axes.
        """
        if image.dtype != np.uint8 or image.ndim != 3:
            raise DataError(
                "image must be uint8 [height, width, channel] to be cropped, found"
                f" {image.dtype} {[*image.shape]}; scale pixels to 0..255, and give grey"
                " images a last axis of 1."
            )
        box = self._box(rng, image.shape[1], image.shape[0])
        pil = needed("PIL.Image")
        picture = pil.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        return self._resized(picture, box)

    def read(
        self, rng: np.random.Generator, content: bytes, mode: str = "RGB"
    ) -> np.ndarray:
        """Return the crop of a picture file, in the form of `read_picture`.

        A JPEG is decoded at a half, a quarter or an eighth of its size where the crop
        then still has the pixels that come out: that takes a fraction of the time.
        """
        picture = open_picture(content)
        width, height = picture.size
        is_turned = picture.getexif().get(ORIENTATION, 1) > 4  # by a quarter
        if is_turned:
            width, height = height, width
        left, top, w, h = self._box(rng, width, height)
        if picture.format == "JPEG":
            least = width * self.size // w, height * self.size // h
            picture.draft(None, least[::-1] if is_turned else least)
        picture = converted(picture, mode)
        x, y = picture.width / width, picture.height / height
        return self._resized(picture, (left * x, top * y, w * x, h * y))

    def _resized(self, picture: Any, box: tuple[int | float, ...]) -> Any:
        left, top, width, height = box
        method = needed("PIL.Image").Resampling[self.method.upper()]
        corners = left, top, left + width, top + height
        return pixels_of(picture.resize((self.size, self.size), method, box=corners))

    def _box(
        self, rng: np.random.Generator, width: int, height: int
    ) -> tuple[int, int, int, int]:
        for _ in range(10):
            area = width * height * rng.uniform(*self.scale)
            ratio = np.exp(rng.uniform(*np.log(self.ratio)))
            w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                left, top = rng.integers((width - w + 1, height - h + 1))
                return int(left), int(top), w, h
        side = min(width, height)
        return (width - side) // 2, (height - side) // 2, side, side


@dataclasses.dataclass(frozen=True)
class PictureReader:
    """Makes an image of a picture file for a training: a crop, or what the test sees."""

    size: int  # of the central square, where there is no crop
    mode: str = "RGB"
    crop: RandomResizedCrop | None = None

    def __call__(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        """Return the crop of an image that is decoded already."""
        return image if self.crop is None else self.crop(rng, image)

    def read(self, rng: np.random.Generator, content: bytes) -> np.ndarray:
        """Return uint8 [size, size, channel]."""
        if self.crop is not None:
            return self.crop.read(rng, content, self.mode)
        return read_picture(content, self.mode, size=(self.size, self.size))
