"""Data as arrays in memory; images of one class each are checked once.

Those by name are in `_data.py`.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optix_tricks._extras import pip_line
from optix_tricks.training._batch import Batch
from optix_tricks.training._npz import read_arrays

PathLike = str | os.PathLike[str]
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")  # of a .npz
MOST_CLASSES = 2**16  # without names, where there are fewer images: more are ids


class DataError(RuntimeError):
    """A data set that is missing or cannot be used; one sentence with the way out."""


class Dataset(NamedTuple):
    """Examples to train on, to test on and to choose by, as trees of NumPy arrays.

    Images are uint8 [n, size, size, channels], with the class of each, int32 [n]. They
    may be `Pictures`, which are decoded where they are asked for.
    """

    name: str
    train: Batch
    test: Batch
    class_names: tuple[str, ...] = ()  # where targets are classes
    validation: Batch | None = None  # see `split_validation`
    streamed: bool = False  # whether `Pictures` are read anew in each epoch

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.train.inputs.shape[1:]

    def channel_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each channel, of training images over 255.

        Of `Pictures` those of a sample.
        """
        levels = np.arange(256) / 255
        channels = self.image_shape[-1]
        counts = np.zeros(256 * channels, np.int64)
        sample = getattr(self.train.inputs, "sample", None)
        inputs = self.train.inputs if sample is None else sample()
        for start in range(0, len(inputs), 256):  # at a time, to stay in cache
            images = inputs[start : start + 256]
            bins = images + 256 * np.arange(channels)
            counts += np.bincount(bins.ravel(), minlength=len(counts))
        weights = counts.reshape(channels, 256) / (counts.sum() / channels)
        mean = weights @ levels
        std = np.sqrt(np.maximum(weights @ levels**2 - mean**2, 1e-12))
        return mean.astype(np.float32), std.astype(np.float32)


def load_arrays(path: PathLike) -> Dataset:
    """Load a `.npz` file, for machines without TFDS.

    It holds `train_images` and `test_images` (uint8 [n, size, size, channels]),
    `train_labels` and `test_labels` (whole numbers [n]) and, if wanted, `class_names`.
    Without names there are as many classes as the highest label says, 65,536 or the
    number of images at most: higher ones are ids and no indices of classes. The cache of
    `load_tfds` is such a file. Whatever is amiss raises a `DataError`.
    """
    way_out = f"write it by np.savez with {', '.join(ARRAYS)}"
    failure = f"{path} cannot be read as a .npz file"
    with explained(failure, way_out):
        arrays = read_arrays(Path(path))
        if "" in arrays:
            raise ValueError("it is a .npy file, of one array without a name")
    return checked(Path(path).stem, arrays)


@contextlib.contextmanager
def explained(failure: str, way_out: str) -> Iterator[None]:
    """Turn whatever a library raises into one `DataError` sentence."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        if isinstance(error, ModuleNotFoundError):
            way_out = f"`{pip_line(error.name or '')}`, or {way_out}"
        raise DataError(f"{failure} ({reason}); {way_out}.") from error


def require(ok: Any, what: str, wanted: str, found: Any, way_out: str) -> None:
    """Raise a `DataError` of one sentence unless `ok`."""
    if not ok:
        raise DataError(f"{what} must be {wanted}, found {found}; {way_out}.")


def checked(name: str, arrays: Mapping[str, Any]) -> Dataset:
    """Hold arrays against the contract of `Dataset`; unnamed classes become numbers."""
    for key in ARRAYS:
        way_out = "save all four under their names"
        require(key in arrays, f"{name}: {key}", "given", list(arrays), way_out)
    for key, x in arrays.items():
        way_out = "save arrays by np.savez, and nothing else in that file"
        is_array = isinstance(x, np.ndarray)
        require(is_array, f"{name}: {key}", "an array", type(x).__name__, way_out)
    x_train, y_train, x_test, y_test = (arrays[key] for key in ARRAYS)
    for split, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        what, found = f"{name}: {split}_images", f"{x.dtype} {list(x.shape)}"
        way_out = "scale the pixels to 0..255 and convert them by astype('uint8')"
        require(x.dtype == np.uint8, what, "uint8", found, way_out)
        square = x.ndim == 4 and x.size and x.shape[1] == x.shape[2]
        wanted = "[n > 0, size, size, channels] and alike in both splits"
        way_out = "crop to squares of one size, and give grey images a last axis of 1"
        if x.ndim == 4 and x.shape[1] in (1, 3, 4) and x.shape[2] == x.shape[3]:
            way_out = "its channels come first: put them last by transpose(0, 2, 3, 1)"
        ok = square and x.shape[1:] == x_train.shape[1:]
        require(ok, what, wanted, found, way_out)
        what, found = f"{name}: {split}_labels", f"{y.dtype} {list(y.shape)}"
        ok = y.dtype.kind in "iu" and y.shape == x.shape[:1]
        way_out = "give each image the index of its class"
        require(ok, what, f"whole numbers [{len(x)}]", found, way_out)
    named = "class_names" in arrays
    if named:
        names = arrays["class_names"]
        what, found = f"{name}: class_names", f"{names.dtype} {list(names.shape)}"
        ok = names.ndim == 1 and names.dtype.kind in "USiu"
        require(ok, what, "strings [classes]", found, "give each class one name")
    most = max(MOST_CLASSES, len(y_train) + len(y_test))
    highest = max(int(y_train.max()), int(y_test.max()))
    names = arrays["class_names"] if named else range(min(highest + 1, most))
    for split, y in (("train", y_train), ("test", y_test)):
        wrong = y[(y < 0) | (y >= len(names))]
        wanted, way_out = f"in 0..{len(names) - 1}", "correct or drop these examples"
        if not named and highest >= most:
            way_out = "number the classes 0, 1, 2, ..., or give class_names"
        require(not wrong.size, f"{name}: {split}_labels", wanted, wrong[:1], way_out)
    y_train, y_test = y_train.astype(np.int32), y_test.astype(np.int32)
    splits = Batch(x_train, y_train), Batch(x_test, y_test)
    return Dataset(name, *splits, tuple(map(str, names)))


def write_npz(path: PathLike, arrays: Mapping[str, Any]) -> None:
    """Write all or nothing, and nothing where the disk does not let us."""
    path = Path(path)
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        try:
            with draft.open("xb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
