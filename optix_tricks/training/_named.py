"""Data sets by name, in memory or, where they do not fit, as pictures to be streamed."""

import os
from pathlib import Path
from typing import Any

from optix_tricks.training._at_hand import AT_HAND, OF_A_SIZE
from optix_tricks.training._data import NAME, load_tfds
from optix_tricks.training._dataset import DataError, Dataset, PathLike, load_arrays
from optix_tricks.training._folders import load_folder
from optix_tricks.training._memory import room_for_data
from optix_tricks.training._picture_array import decoded


def load_dataset(
    name: PathLike,
    *,
    data_dir: PathLike | None = None,
    stream: bool | None = None,
    room: int | None = None,
    image_size: int = 224,
) -> Dataset:
    """Load a data set by name.

    Args:
      name: "digits", "breast_cancer" or "diabetes"; "generated" or "generated/SIZE", of
        64 or SIZE pixels; "topics" or "topics/LENGTH", in windows of 64 or LENGTH
        characters; a path that ends in ".npz"; a folder of pictures, DIR/train/CLASS/*
        beside DIR/test or DIR/val; else a set of a TFDS directory.
      data_dir: TFDS's directory.
      stream: read pictures anew in each epoch. None does where they do not fit; with
        False they are decoded once.
      room: bytes that the decoded pictures may take; a quarter of the memory, of the
        machine or of a device, whichever has less, if not given.
      image_size: pixels of a side, of pictures that have many sizes.

    Raises:
      DataError: if there is no such set, it is damaged, or it lies in memory and is to be
        streamed.
    """
    said = os.fspath(name)
    base, *size = said.split("/", 1)
    folder = Path(said).expanduser()
    is_at_hand = said in AT_HAND or said.endswith((".npz", ".npy"))
    is_made = base in OF_A_SIZE and all(map(str.isdecimal, size))
    if stream and (is_at_hand or is_made):
        raise DataError(
            f"data set {said!r} lies in memory and cannot be streamed: leave out"
            " --stream, or give a folder of pictures or a set of TFDS."
        )
    if said in AT_HAND:
        return AT_HAND[said]()
    if is_made:
        return OF_A_SIZE[base](*map(int, size))
    if is_at_hand:
        return load_arrays(name)
    if folder.is_dir() and ((folder / "train").is_dir() or not NAME.fullmatch(said)):
        room = room_for_data() if room is None else room
        found = load_folder(folder, size=image_size, room=room)
        return decoded(found, stream=stream, room=room)
    options: Any = {"stream": stream, "room": room, "image_size": image_size}
    return load_tfds(said, data_dir=data_dir, **options)
