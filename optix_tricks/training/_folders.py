"""Folders of pictures, one a class, as a data set."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from optix_tricks.training._batch import Batch
from optix_tricks.training._dataset import DataError, Dataset, PathLike, explained
from optix_tricks.training._picture_array import Pictures

ENDINGS = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
VALIDATION = ("val", "validation", "valid")
FORM = "DIR/train/CLASS/*.jpg beside DIR/test or DIR/val, with the same classes"


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
    """Files of a directory as a source of encoded pictures."""

    directory: str
    names: np.ndarray  # bytes [n], below the directory
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        file = os.path.join(self.directory, os.fsdecode(self.names[index]))
        with explained(f"picture {file} cannot be read", "put it back, or start anew"):
            content = Path(file).read_bytes()
        return {"image": content, "label": self.labels[index], "file": file}


def load_folder(path: PathLike, *, size: int, room: int) -> Dataset:
    """Load `DIR/train/CLASS/*.jpg` beside `DIR/test/...`, in the order of the names.

    `val/`, `validation/` or `valid/` serves as the test where there is no `test/`, and
    else as the validation split. Classes are the folders of `train/` by their names.
    Files of other endings than pictures have are passed over.

    Args:
      path: the directory, DIR.
      size: pixels of a side; the pictures may have any size.
      room: see `Pictures`.

    Raises:
      DataError: if there is no train or test folder, a class of the training has no
        picture, or one of the test is not trained on.
    """
    root = Path(path).expanduser()
    train = root / "train"
    if not train.is_dir():
        raise DataError(f"{root} has no folder train: lay it out as {FORM}.")
    others = [root / name for name in ("test", *VALIDATION) if (root / name).is_dir()]
    if not others:
        raise DataError(
            f"{root} has no folder test or val beside train: lay it out as {FORM}."
        )
    names = tuple(sorted(x.name for x in os.scandir(train) if x.is_dir()))
    if not names:
        raise DataError(f"{train} has no folder for each class: lay it out as {FORM}.")
    splits = [_read(folder, names, size, room) for folder in (train, *others[:2])]
    validation = splits[2] if len(splits) > 2 else None
    train_split, test = splits[0], splits[1]
    return Dataset(root.name, train_split, test, names, validation, streamed=True)


def _read(folder: Path, classes: tuple[str, ...], size: int, room: int) -> Batch:
    """Find the pictures of a split and their classes."""
    with explained(f"{folder} cannot be read", "see who may read it"):
        found = {x.name: x for x in os.scandir(folder) if x.is_dir()}
        unknown = sorted(found.keys() - {*classes})
        if unknown:
            raise DataError(
                f"{folder} has a class {unknown[0]!r} that {folder.parent / 'train'} does"
                " not have: the classes of all splits must be those of train."
            )
        files: list[bytes] = []
        counts = []
        for name in classes:
            held = os.scandir(found[name]) if name in found else ()
            own = sorted(x.name for x in held if x.name.lower().endswith(ENDINGS))
            if not own and folder.name == "train":
                raise DataError(
                    f"class folder {folder / name} holds no picture: add some"
                    f" ({', '.join(ENDINGS)}), or delete it."
                )
            files += [os.fsencode(os.path.join(name, file)) for file in own]
            counts.append(len(own))
    if not files:
        raise DataError(f"{folder} holds no picture: lay it out as {FORM}.")
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), counts)
    source = Files(str(folder), np.array(files), labels)
    return Batch(Pictures(source, size, room=room), labels)
