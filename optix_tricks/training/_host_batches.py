"""Batches on the host: what a source holds, decoded, shuffled and stacked, by Grain.

All of this runs in threads and worker processes, and touches no accelerator. Grain is
imported only when batches are asked for.
"""

import dataclasses
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from optix_tricks._checks import check_count
from optix_tricks._paths import Whole
from optix_tricks.training._dataset import DataError, explained
from optix_tricks.training._pictures import read_picture

HostAugment = Callable[[np.random.Generator, np.ndarray], np.ndarray]
WAY_OUT = "replace it, or leave it out of the source"


@runtime_checkable
class Source(Protocol):
    """Examples by index: dicts with `image` and `label`.

    An image is an array uint8 [height, width, channel] or the bytes of a picture file,
    which become RGB. A `tfds.data_source` is one, and so is anything else with these two
    methods.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySource:
    """Two arrays as a source, in memory or mapped from a file by `np.load(mmap_mode=)`.

    >>> source = ArraySource(np.zeros((10, 8, 8, 3), np.uint8), np.arange(10))
    >>> example = source[3]
    >>> len(source), example["label"]
    (10, np.int64(3))
    """

    images: np.ndarray  # uint8 [n, height, width, channel]
    labels: np.ndarray  # whole numbers [n]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.images[index], "label": self.labels[index]}


class Example(NamedTuple):
    """One image, its class and its place in the source."""

    image: np.ndarray  # [height, width, channel]
    label: Any  # whole number
    place: int


def decode(
    index: int, record: Any, read: Callable[[bytes], np.ndarray] = read_picture
) -> Example:
    """Take image and label from record `index`; `read` makes an image of bytes.

    Raises:
      DataError: if the record lacks one of them, or the bytes are no picture, or one of
        levels whose range is unknown.
    """
    try:
        image, label = record["image"], record["label"]
    except (KeyError, IndexError, TypeError) as error:
        found = sorted(record) if isinstance(record, Mapping) else type(record).__name__
        raise DataError(
            f"record of example {index} must be a dict with 'image' and 'label', found"
            f" {found}; wrap the source in a class whose __getitem__ returns such dicts."
        ) from error
    if isinstance(image, bytes):
        with explained_picture(index, record):
            image = read(image)
    return Example(image, label, index)


def explained_picture(index: int, record: Any) -> AbstractContextManager[None]:
    """Say which picture cannot be decoded, by its file where the record has that."""
    which = f"picture {record['file']}" if "file" in record else f"image {index}"
    return explained(f"{which} cannot be decoded", WAY_OUT)


def stack(examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stack to images uint8 [batch, height, width, channel], labels and indices int32.

    Raises:
      DataError: if images differ in size or are not uint8 of three axes, or labels are
        not whole numbers of 31 bits.
    """
    forms = sorted({f"{np.asarray(x).dtype} {[*np.shape(x)]}" for x, *_ in examples})
    if len(forms) > 1:
        raise DataError(
            f"images of a batch must be alike, found {forms[0]} and {forms[1]}; give a "
            "function that crops or resizes them as augment, such as "
            "RandomResizedCrop(224)."
        )
    images, labels, indices = map(np.stack, zip(*examples, strict=True))
    if images.dtype != np.uint8 or images.ndim != 4:
        raise DataError(
            f"images must be uint8 [height, width, channel], found {forms[0]}; scale "
            "pixels to 0..255, and give grey images a last axis of 1."
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(
            f"labels must be whole numbers, found {labels.dtype} {[*labels.shape[1:]]}; "
            "give each image the index of its class."
        )
    wrong = labels[(labels < 0) | (labels > np.iinfo(np.int32).max)]
    if wrong.size:
        raise DataError(
            f"labels must be indices of classes, 0, 1, 2, ..., found {wrong[0]}; number"
            " the classes."
        )
    return images, labels.astype(np.int32), indices.astype(np.int32)


def host_batches(
    source: Source,
    batch_size: int,
    seed: Whole,
    augment: HostAugment | None,
    workers: int,
    threads: int,
    start: int,
    *,
    part: int = 0,
    parts: int = 1,
) -> Any:
    """Return Grain's iterator of what `stack` returns, from batch number `start` on.

    Arguments are those of `streaming.Stream`, and which of how many equal parts of each
    batch is made: the others are not read.

    Raises:
      ValueError: if the source holds less than one batch.
      DataError: if Grain is absent; while iterating, what `decode` and `stack` raise.
    """
    check_count("seed", seed)
    size = len(source)
    if size < batch_size:
        raise ValueError(
            f"batch_size must be at most the number of examples in source, {size}, got"
            f" {batch_size}."
        )
    with explained("data cannot be streamed", "train from arrays by make_epoch"):
        import grain
    if workers:
        _let_grain_read_its_flags()

    reads = hasattr(augment, "read")
    examples = grain.MapDataset.source(source)
    examples = examples.map_with_index(functools.partial(_with_place, size, reads))
    examples = examples.seed(seed).shuffle()
    if augment is not None:
        examples = examples.random_map(functools.partial(_augmented, augment, reads))
    full = examples[: size // batch_size * batch_size]
    batches = full.batch(batch_size // parts, drop_remainder=True, batch_fn=stack)
    batches = batches[part::parts]
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    iterated = batches.repeat().slice(slice(start, None)).to_iter_dataset(options)
    options = grain.MultiprocessingOptions(num_workers=workers)
    return iter(iterated.mp_prefetch(options, worker_init_fn=_as_worker))


# Functions of the module and no closures, which worker processes are sent by name.


def _with_place(size: int, reads: bool, i: int, record: Any) -> Any:
    """Return what is augmented: an example, or record and place of one to be read."""
    return (i % size, record) if reads else decode(i % size, record)


def _augmented(
    augment: Any, reads: bool, example: Any, rng: np.random.Generator
) -> Example:
    if reads:
        place, record = example
        return decode(place, record, functools.partial(augment.read, rng))
    return example._replace(image=augment(rng, example.image))


def _as_worker(index: int, count: int) -> None:
    """Leave signals to the training's process, and end where that has ended."""
    del index, count
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _let_grain_read_its_flags() -> None:
    """Its workers read absl's flags, which only `absl.app` parses."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
