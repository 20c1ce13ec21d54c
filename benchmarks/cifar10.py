"""CIFAR-10 for benchmarks, also where TensorFlow Datasets is absent."""

import json
from pathlib import Path

import numpy as np

from optix_tricks.training import Batch, Dataset, generate, load_arrays

NAMES = "airplane automobile bird cat deer dog frog horse ship truck"


def load(where: str | None) -> Dataset:
    """Load CIFAR-10.

    Args:
      where: a `.npz` of arrays; a directory of six sprites, `data_batch_1.png` ..
        `test_batch.png`, an image a row, with `train_lables.json` and `test_lables.json`;
        "generated" for images that are not CIFAR-10; None for TFDS.
    """
    if where is None:
        from optix_tricks.training import load_dataset

        return load_dataset("cifar10")
    if where == "generated":
        return generate(32)
    if where.endswith(".npz"):
        return load_arrays(where)
    return _sprites(Path(where))


def _sprites(directory: Path) -> Dataset:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None

    def images(names: list[str]) -> np.ndarray:
        rows = [np.asarray(Image.open(directory / name)) for name in names]
        return np.concatenate(rows).reshape(-1, 32, 32, 3)

    def labels(split: str) -> np.ndarray:
        text = (directory / f"{split}_lables.json").read_text()
        return np.array(json.loads(text), np.int32)

    train = images([f"data_batch_{i}.png" for i in range(1, 6)])
    test = images(["test_batch.png"])
    names = tuple(NAMES.split())
    splits = Batch(train, labels("train")), Batch(test, labels("test"))
    return Dataset("cifar10", *splits, names)
