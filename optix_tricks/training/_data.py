"""Data sets by name: those that are at hand, and those of TensorFlow Datasets.

Of TFDS any image-classification set is read, without TensorFlow.

TFDS and Pillow are imported only when one of its sets is asked for.
"""

import contextlib
import difflib
import hashlib
import os
import re
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from optix_tricks.training._dataset import (
    ARRAYS,
    MOST_CLASSES,
    DataError,
    Dataset,
    PathLike,
    checked,
    explained,
    load_arrays,
    require,
    write_npz,
)
from optix_tricks.training._digits import load_digits
from optix_tricks.training._generated import generate
from optix_tricks.training._tables import load_breast_cancer, load_diabetes
from optix_tricks.training._text import load_topics

AT_HAND: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
    "diabetes": load_diabetes,
}
OF_A_SIZE: dict[str, Callable[..., Dataset]] = {
    "generated": generate,
    "topics": load_topics,
}
_CACHE = "optix_tricks_arrays.npz"
_CHUNK = 4096  # records read at once
_PROBE_SECONDS = 5.0


def load_dataset(name: PathLike, *, data_dir: PathLike | None = None) -> Dataset:
    """Load a data set by name.

    Args:
      name: "digits", "breast_cancer" or "diabetes"; "generated" or "generated/SIZE", of
        64 or SIZE pixels; "topics" or "topics/LENGTH", in windows of 64 or LENGTH
        characters; a path that ends in ".npz"; else a set of a TFDS directory.
      data_dir: TFDS's directory.
    """
    name = os.fspath(name)
    if name in AT_HAND:
        return AT_HAND[name]()
    base, *size = name.split("/", 1)
    if base in OF_A_SIZE and all(map(str.isdecimal, size)):
        return OF_A_SIZE[base](*map(int, size))
    if name.endswith((".npz", ".npy")):
        return load_arrays(name)
    return load_tfds(name, data_dir=data_dir)


def load_tfds(
    name: str, *, data_dir: PathLike | None = None, cache: bool = True
) -> Dataset:
    """Load an image-classification set of TensorFlow Datasets, in TFDS's own order.

    The set needs the features `image` (uint8, square, 1 or 3 channels) and `label`, the
    splits `train` and `test` (or `validation`), and to be prepared as array_record. An
    absent set is downloaded if its host answers within seconds.

    Args:
      name: As TFDS spells it: `"cifar10"`, `"name/config"`, `"name:1.0.0"`.
      data_dir: TFDS's directory; else `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.
      cache: Keep the arrays as `optix_tricks_arrays.npz` in the set's own directory,
        if that can be written, and read them from there while the set stays as it is
        (CIFAR-10: 184 MB, 0.2 s in place of 6 s).

    Raises:
      DataError: The set is unknown, absent, damaged, or not of this form; or an image of
        it has levels whose range is unknown (see `pictures.read_picture`).
    """
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    directory = Path(data_dir or default).expanduser()
    failure = f"data set {name!r} of {directory} cannot be read"
    with explained(failure, _way_out(name, directory)):
        builder = _builder(name, directory)
        home = Path(builder.data_path)
        metadata = sorted([*home.glob("*.json"), *home.glob("*.txt")])
        content = b"".join(path.read_bytes() for path in metadata)
        fingerprint = hashlib.sha256(content).hexdigest()
        if cache:
            with contextlib.suppress(Exception), open(home / _CACHE, "rb") as file:
                if str(np.load(file)["fingerprint"]) == fingerprint:
                    return load_arrays(home / _CACHE)._replace(name=name)
        dataset = checked(name, _read_records(name, builder))
    if cache:
        splits = (*dataset.train[:2], *dataset.test[:2])
        arrays = dict(zip(ARRAYS, splits, strict=True))
        arrays |= {"class_names": np.array(dataset.class_names)}
        write_npz(home / _CACHE, arrays | {"fingerprint": np.array(fingerprint)})
    return dataset


def _way_out(name: str, directory: Path) -> str:
    call = f"tfds.builder('{name}', file_format='array_record').download_and_prepare()"
    return (
        'prepare it on a machine with a network by `python -c "import '
        f'tensorflow_datasets as tfds; {call}"` and copy it into {directory}, or name '
        "the directory that holds it as data_dir (--data-dir)"
    )


def _builder(name: str, directory: Path) -> Any:
    """Builder of a prepared set; an absent one is prepared, or refused in seconds."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import read_only_builder, registered

    if re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        with contextlib.suppress(registered.DatasetNotFoundError):
            return read_only_builder.builder_from_files(
                name, data_dir=directory, file_format="array_record"
            )
    base = re.split("[/:]", name)[0]
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        infos = [p for k in (2, 3) for p in directory.glob("*/" * k + "features.json")]
        held = sorted(str(path.parent.relative_to(directory)) for path in infos)
        names = {*known, *(path.split(os.sep)[0] for path in held)}
        names |= {*AT_HAND, *OF_A_SIZE}
        close = difflib.get_close_matches(base.lower(), sorted(names))
        raise DataError(
            f"there is no data set {name!r}: {directory} holds "
            f"{', '.join(held) or 'none'}, and TFDS knows none of that name"
            + (f"; did you mean {' or '.join(map(repr, close))}?" if close else ".")
        )
    absent = f"data set {name!r} is not in {directory} and cannot be"
    way_out = _way_out(name, directory)
    with explained(f"{absent} prepared", way_out):
        builder = tfds.builder(name, data_dir=directory, file_format="array_record")
        url = next(iter(builder.url_infos or ()), builder.info.homepage)
        if url and not _answers(url):
            problem = f"no connection to {urllib.parse.urlsplit(url).hostname}"
            raise DataError(f"{absent} downloaded ({problem}); {way_out}.")
        builder.download_and_prepare()
    return builder


def _answers(url: str) -> bool:
    """Ask the host as TFDS does, by any proxy, but for seconds in place of minutes."""
    import requests

    answers = []

    def ask() -> None:
        with contextlib.suppress(requests.RequestException):
            answers.append(requests.head(url, timeout=3).status_code < 500)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return any(answers)


def _read_records(name: str, builder: Any) -> dict[str, np.ndarray]:
    """Check splits and features, then decode every record."""
    import tensorflow_datasets as tfds

    from optix_tricks.training._pictures import read_picture

    way_out = "choose another set, or save what you want of it as a .npz file"

    def need(ok: Any, part: str, wanted: str, found: Any) -> None:
        require(ok, f"data set {name!r}: {part}", wanted, found, way_out)

    splits, features = list(builder.info.splits), dict(builder.info.features.items())
    test = "test" if "test" in splits else "validation"
    wanted = "train and test (or validation)"
    need({"train", test} <= {*splits}, "the splits", wanted, splits)
    image, label = (features.get(key, sorted(features)) for key in ("image", "label"))
    ok = isinstance(label, tfds.features.ClassLabel)
    need(ok, "feature 'label'", "a ClassLabel", label)
    most = max(MOST_CLASSES, sum(x.num_examples for x in builder.info.splits.values()))
    ok = (label.num_classes or 0) <= most
    need(ok, "feature 'label'", f"of at most {most} classes", label.num_classes)
    ok = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
    need(ok, "feature 'image'", "a uint8 Image", image)
    size, _, channels = shape = image.shape
    ok = size and shape[1] == size and channels in (1, 3)
    need(ok, "feature 'image'", "square with 1 or 3 channels", image)
    mode = "L" if channels == 1 else "RGB"
    arrays = {"class_names": np.array(label.names)} if label.num_classes else {}
    for ours, theirs in (("train", "train"), ("test", test)):
        decoders = {"image": tfds.decode.SkipDecoding()}
        source = builder.as_data_source(theirs, decoders=decoders)
        images = np.empty((len(source), *shape), np.uint8)
        labels = np.empty(len(source), np.int64)
        for start in range(0, len(source), _CHUNK):
            keys = range(start, min(start + _CHUNK, len(source)))
            for i, record in zip(keys, source.__getitems__(keys), strict=True):
                part = f"image {i} of {theirs}"
                with explained(f"data set {name!r}: {part} cannot be decoded", way_out):
                    pixels = read_picture(record["image"], mode)
                ok, wanted = pixels.shape == shape, f"{size} x {size}"
                need(ok, part, wanted, pixels.shape[1::-1])
                images[i] = pixels
                labels[i] = record["label"]
        arrays |= {f"{ours}_images": images, f"{ours}_labels": labels}
    return arrays
