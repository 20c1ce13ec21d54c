"""Generated images with classes that can be learnt, where no data set is at hand."""

import numpy as np

from optix_tricks._checks import check_count
from optix_tricks._paths import Whole
from optix_tricks.training._batch import Batch
from optix_tricks.training._dataset import Dataset

CLASSES, TRAIN, TEST = 10, 2048, 512
LARGEST = 1024  # pixels of a side: 8 GB of images


def generate(size: int = 64, *, seed: Whole = 0) -> Dataset:
    """Make images of ten classes: a smooth pattern each, moved, dimmed and noisy.

    A class is a sum of a few waves of random direction and colour. An image shows it at a
    random shift and contrast under noise of its own, so that a network must learn the
    pattern and cannot learn the pixels.

    Args:
      size: pixels of a side, 8 to 1,024.
      seed: of everything; the same seed makes the same images.

    Returns:
      2,048 training and 512 test images, uint8 [n, size, size, 3].
    """
    if not 8 <= size <= LARGEST:
        raise ValueError(f"size must be 8 to {LARGEST} pixels, got {size}.")
    check_count("seed", seed)
    rng = np.random.default_rng(seed)
    waves = 3
    frequency = rng.integers(1, 4, (CLASSES, waves, 2)) * rng.choice(
        [-1, 1], (CLASSES, waves, 2)
    )
    phase = rng.uniform(0, 2 * np.pi, (CLASSES, waves))
    colour = rng.normal(size=(CLASSES, waves, 3))
    grid = np.stack(np.meshgrid(*[np.arange(size) / size] * 2, indexing="ij"), axis=-1)

    def images_of(labels: np.ndarray) -> np.ndarray:
        images = np.empty((len(labels), size, size, 3), np.uint8)
        for image, label in zip(images, labels, strict=True):
            moved = grid + rng.uniform(0, 1, 2)
            angle = 2 * np.pi * moved @ frequency[label].T + phase[label]
            pattern = np.cos(angle) @ colour[label] * rng.uniform(0.5, 1.5)
            noise = rng.normal(size=pattern.shape)
            image[:] = np.clip(128 + 32 * pattern + 32 * noise, 0, 255)
        return images

    labels = [np.arange(n, dtype=np.int32) % CLASSES for n in (TRAIN, TEST)]
    names = tuple(f"pattern {i}" for i in range(CLASSES))
    train, test = (images_of(each) for each in labels)
    splits = Batch(train, labels[0]), Batch(test, labels[1])
    return Dataset(f"generated/{size}", *splits, names)
