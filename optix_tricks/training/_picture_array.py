"""Pictures in files as one array, of which only what is asked for is decoded."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from optix_tricks.training._batch import Batch
from optix_tricks.training._dataset import DataError, Dataset
from optix_tricks.training._host_batches import Source, explained_picture
from optix_tricks.training._pictures import read_picture

SAMPLE = 1024  # pictures that stand for all
ROOM = 2**33  # bytes that are decoded at once, where nobody says otherwise
MODES = {1: "L", 3: "RGB"}


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of a source as an array uint8 [n, size, size, channels], not yet decoded.

    It stands where an array of images does, in a `Dataset`: an index of the first axis
    chooses pictures, and `np.asarray` decodes those that are chosen, each the largest
    central square of its picture, scaled to `size`. What is trained on is drawn anew in
    each epoch by `Stream`, from the whole picture.

    Attributes:
      source: of all pictures, as bytes of files.
      size: pixels of a side.
      channels: 3, or 1 of grey ones.
      places: which of the source, int64 [n]; all if not given.
      is_cropped: whether pictures are of other sizes, and crops may be of the whole.
      room: bytes that may be decoded at once.

    Raises:
      DataError: if more is to be decoded at once, or a picture cannot be.

    >>> pictures = Pictures([{"image": b"...", "label": 0}] * 5, size=64)
    >>> pictures.shape, pictures[np.array([4, 1])].shape
    ((5, 64, 64, 3), (2, 64, 64, 3))
    """

    source: Source
    size: int
    channels: int = 3
    places: Any = None
    is_cropped: bool = True
    room: int = ROOM

    def __post_init__(self) -> None:
        if self.places is None:
            object.__setattr__(self, "places", np.arange(len(self.source)))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """That of the decoded array."""
        return len(self.places), self.size, self.size, self.channels

    @property
    def dtype(self) -> np.dtype:
        """That of pixels."""
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        """Of the decoded array."""
        return 4

    @property
    def nbytes(self) -> int:
        """How much it is when it is decoded."""
        return len(self) * self.size**2 * self.channels

    @property
    def mode(self) -> str:
        """Pillow's word for the channels."""
        return MODES[self.channels]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> "Pictures":
        """Return the pictures at these places: a slice, whole numbers or booleans."""
        chosen = index if isinstance(index, slice) else np.atleast_1d(np.asarray(index))
        return dataclasses.replace(self, places=self.places[chosen])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Decode all, in as many threads as there are cores."""
        if self.nbytes > self.room:
            raise DataError(
                f"{len(self):,} pictures of {self.size} pixels take {self.nbytes:,} bytes"
                f" in memory, and {self.room:,} may: train on them, where they are"
                " streamed, or give more --memory."
            )
        pixels = np.empty(self.shape, np.uint8)

        def fill(i: int) -> None:
            pixels[i] = self._pixels(int(self.places[i]))

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for _ in threads.map(fill, range(len(self))):
                pass
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def sample(self) -> np.ndarray:
        """Decode some that are spread over all: 1,024, or all where they are fewer."""
        spread = np.linspace(0, len(self) - 1, min(len(self), SAMPLE))
        return np.asarray(self[spread.astype(int)])

    def _pixels(self, place: int) -> np.ndarray:
        record = self.source[place]
        with explained_picture(place, record):
            return read_picture(record["image"], self.mode, size=(self.size, self.size))


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledPictures:
    """Pictures with their labels as a source for `Stream`, numbered as in the array."""

    pictures: Pictures
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.pictures.source[int(self.pictures.places[index])]
        return {**record, "label": self.labels[index]}


def decoded(dataset: Dataset, *, stream: bool | None, room: int) -> Dataset:
    """Return a data set of pictures to be streamed as it is, another decoded.

    Where processes train together each decodes what its devices hold, once that is known.

    Args:
      dataset: of pictures.
      stream: whether it is to be; None does where it does not fit.
      room: bytes that it may take.
    """
    splits = dataset.train, dataset.test, dataset.validation
    size = sum(split.inputs.nbytes for split in splits if split is not None)
    if stream or (stream is None and size > room):
        return dataset
    if jax.process_count() > 1:
        return dataset._replace(streamed=False)

    def in_memory(split: Batch) -> Batch:
        return split._replace(inputs=np.asarray(split.inputs))

    validation = dataset.validation
    return dataset._replace(
        train=in_memory(dataset.train),
        test=in_memory(dataset.test),
        validation=None if validation is None else in_memory(validation),
        streamed=False,
    )
