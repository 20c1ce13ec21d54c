"""A set of TensorFlow Datasets as pictures that are decoded where they are asked for."""

import contextlib
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optix_tricks.training._batch import Batch
from optix_tricks.training._dataset import (
    MOST_CLASSES,
    DataError,
    Dataset,
    require,
    write_npz,
)
from optix_tricks.training._npz import read_arrays
from optix_tricks.training._picture_array import Pictures

LABELS = "optix_tricks_labels.npz"
TESTS = ("test", "validation")
WAY_OUT = "choose another set, or save what you want of it as a .npz file"


class Form(NamedTuple):
    """What a set says of itself."""

    tests: tuple[str, ...]  # splits that may serve as the test
    classes: tuple[str, ...] | None  # None if they have no names
    size: int | None  # pixels of a side; None of pictures of other shapes
    channels: int
    examples: int

    @property
    def nbytes(self) -> int | float:
        """How much memory all decoded pictures take; ∞ where they have many sizes."""
        side = math.inf if self.size is None else self.size
        return self.examples * side**2 * self.channels


def form_of(name: str, builder: Any) -> Form:
    """Hold splits and features against what a classification of images needs.

    Raises:
      DataError: names the split or the feature that is amiss.
    """
    import tensorflow_datasets as tfds

    def need(ok: Any, part: str, wanted: str, found: Any) -> None:
        require(ok, f"data set {name!r}: {part}", wanted, found, WAY_OUT)

    splits, features = list(builder.info.splits), dict(builder.info.features.items())
    tests = tuple(split for split in TESTS if split in splits)
    wanted = "train and test (or validation)"
    need("train" in splits and tests, "the splits", wanted, splits)
    image, label = (features.get(key, sorted(features)) for key in ("image", "label"))
    ok = isinstance(label, tfds.features.ClassLabel)
    need(ok, "feature 'label'", "a ClassLabel", label)
    most = max(MOST_CLASSES, sum(x.num_examples for x in builder.info.splits.values()))
    ok = (label.num_classes or 0) <= most
    need(ok, "feature 'label'", f"of at most {most} classes", label.num_classes)
    ok = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
    need(ok, "feature 'image'", "a uint8 Image", image)
    height, width, channels = image.shape
    need(channels in (1, 3, None), "feature 'image'", "of 1 or 3 channels", image)
    return Form(
        tests,
        tuple(label.names) if label.num_classes else None,
        height if height == width else None,
        channels or 3,
        sum(builder.info.splits[split].num_examples for split in ("train", tests[0])),
    )


def read_pictures(
    name: str, builder: Any, form: Form, *, size: int, room: int, fingerprint: str
) -> Dataset:
    """Return a set whose pictures stay in its files; their labels are read once.

    The labels are kept as `optix_tricks_labels.npz` beside the set, if that can be
    written, as they lie in the same records as the pictures.

    Args:
      name: of the set.
      builder: TFDS's, of a prepared set.
      form: of the set.
      size: pixels of a side.
      room: see `Pictures`.
      fingerprint: of the set as it is.
    """
    import tensorflow_datasets as tfds

    kept = Path(builder.data_path) / LABELS
    labels: dict[str, np.ndarray] = {}
    with contextlib.suppress(Exception):
        found = read_arrays(kept)
        if str(found.pop("fingerprint")) == fingerprint:
            labels = found
    read = dict(labels)

    def split_of(key: str) -> Batch:
        decoders = {"image": tfds.decode.SkipDecoding()}
        source = builder.as_data_source(key, decoders=decoders)
        if key not in labels:
            labels[key] = np.array([source[i]["label"] for i in range(len(source))])
        cropped = form.size is None
        found = Pictures(source, size, form.channels, is_cropped=cropped, room=room)
        return Batch(found, labels[key].astype(np.int32))

    train, tests = split_of("train"), map(split_of, form.tests)
    test = next((x for x in tests if (x.targets >= 0).all()), None)  # -1: not told
    if labels.keys() != read.keys():
        write_npz(kept, {**labels, "fingerprint": np.array(fingerprint)})
    if test is None:
        raise DataError(
            f"data set {name!r} does not tell the classes of {' or '.join(form.tests)}:"
            f" {WAY_OUT}."
        )
    highest = int(max(train.targets.max(), test.targets.max()))
    names = form.classes or tuple(map(str, range(highest + 1)))
    for key, y in (("train", train.targets), ("test", test.targets)):
        wrong = y[(y < 0) | (y >= len(names))]
        wanted = f"in 0..{len(names) - 1}"
        require(not wrong.size, f"{name}: labels of {key}", wanted, wrong[:1], WAY_OUT)
    return Dataset(name, train, test, names, streamed=True)
