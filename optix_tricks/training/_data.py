"""Image-classification sets of TensorFlow Datasets, read without TensorFlow.

TFDS and Pillow are imported only when one of its sets is asked for.
"""

import contextlib
import difflib
import hashlib
import os
import re
import threading
import urllib.parse
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optix_tricks.training._at_hand import AT_HAND, OF_A_SIZE
from optix_tricks.training._dataset import (
    ARRAYS,
    DataError,
    Dataset,
    PathLike,
    checked,
    explained,
    load_arrays,
    require,
    write_npz,
)
from optix_tricks.training._memory import room_for_data
from optix_tricks.training._picture_array import decoded
from optix_tricks.training._pictures import read_picture
from optix_tricks.training._tfds_pictures import WAY_OUT, Form, form_of, read_pictures

_CACHE = "optix_tricks_arrays.npz"
_CHUNK = 4096  # records read at once
_PROBE_SECONDS = 5.0
NAME = re.compile(r"\w+(/[\w.-]+)?(:[\d.*]+)?")  # of a set, a config, a version


def load_tfds(
    name: str,
    *,
    data_dir: PathLike | None = None,
    cache: bool = True,
    stream: bool | None = None,
    room: int | None = None,
    image_size: int = 224,
) -> Dataset:
    """Load an image-classification set of TensorFlow Datasets, in TFDS's own order.

    The set needs the features `image` (uint8, 1 or 3 channels) and `label`, the splits
    `train` and `test` (or `validation`), and to be prepared as array_record. An absent
    set is downloaded if its host answers within seconds. Of pictures of many shapes the
    labels are read once and kept beside the set, `optix_tricks_labels.npz`.

    Args:
      name: As TFDS spells it: `"cifar10"`, `"name/config"`, `"name:1.0.0"`.
      data_dir: TFDS's directory; else `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.
      cache: Keep the arrays as `optix_tricks_arrays.npz` in the set's own directory,
        if that can be written, and read them from there while the set stays as it is
        (CIFAR-10: 184 MB, 0.2 s in place of 6 s).
      stream: as in `load_dataset`.
      room: as there.
      image_size: of pictures that are no squares of one size.

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
        form = form_of(name, builder)
        room = room_for_data() if room is None else room
        fits = stream is not True and (stream is False or form.nbytes <= room)
        if not fits or form.size is None or jax.process_count() > 1:
            given = {"size": form.size or image_size, "room": room}
            found = read_pictures(name, builder, form, **given, fingerprint=fingerprint)
            return decoded(found, stream=stream, room=room)
        if cache:
            with contextlib.suppress(Exception), open(home / _CACHE, "rb") as file:
                if str(np.load(file)["fingerprint"]) == fingerprint:
                    return load_arrays(home / _CACHE)._replace(name=name)
        dataset = checked(name, _read_records(name, builder, form))
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

    if NAME.fullmatch(name):
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


def _read_records(name: str, builder: Any, form: Form) -> dict[str, np.ndarray]:
    """Decode every record of a set of squares."""
    import tensorflow_datasets as tfds

    size, channels = form.size, form.channels
    assert size is not None
    shape = (size, size, channels)
    mode = "L" if channels == 1 else "RGB"
    arrays = {} if form.classes is None else {"class_names": np.array(form.classes)}
    for ours, theirs in (("train", "train"), ("test", form.tests[0])):
        decoders = {"image": tfds.decode.SkipDecoding()}
        source = builder.as_data_source(theirs, decoders=decoders)
        images = np.empty((len(source), *shape), np.uint8)
        labels = np.empty(len(source), np.int64)
        for start in range(0, len(source), _CHUNK):
            keys = range(start, min(start + _CHUNK, len(source)))
            for i, record in zip(keys, source.__getitems__(keys), strict=True):
                part = f"data set {name!r}: image {i} of {theirs}"
                with explained(f"{part} cannot be decoded", WAY_OUT):
                    pixels = read_picture(record["image"], mode)
                ok, wanted = pixels.shape == shape, f"{size} x {size}"
                require(ok, part, wanted, pixels.shape[1::-1], WAY_OUT)
                images[i] = pixels
                labels[i] = record["label"]
        arrays |= {f"{ours}_images": images, f"{ours}_labels": labels}
    return arrays
