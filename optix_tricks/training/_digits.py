"""Handwritten digits: scikit-learn's own file and split, without importing it.

That import takes longer than all else before a first step but compiling.
"""

import importlib.util
from pathlib import Path

import numpy as np

from optix_tricks._extras import needed
from optix_tricks.training._dataset import ARRAYS, Dataset, checked

TEST = 360  # images


def load_digits() -> Dataset:
    """Load scikit-learn's bundled handwritten digits: 1,797 images of 8 × 8 pixels.

    The split is fixed: scikit-learn's `train_test_split`, stratified by class, 360 test
    images, `random_state=0`. Grey levels 0..16 are spread over 0..255.

    >>> digits = load_digits()
    >>> digits.train.inputs.shape, digits.test.inputs.shape, len(digits.class_names)
    ((1437, 8, 8, 1), (360, 8, 8, 1), 10)
    """
    found = importlib.util.find_spec("sklearn") or needed("sklearn").__spec__
    (package,) = found.submodule_search_locations or [""]
    file = Path(package, "datasets", "data", "digits.csv.gz")
    table = np.loadtxt(file, delimiter=",", dtype=np.int32)
    images = np.rint(table[:, :-1].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1]
    train, test = stratified(labels, TEST, np.random.RandomState(0))
    splits = images[train], labels[train], images[test], labels[test]
    return checked("digits", dict(zip(ARRAYS, splits, strict=True)))


def stratified(
    labels: np.ndarray, test_size: int, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Draw which examples are trained and tested on, each class by its share.

    The draws are those of `sklearn.model_selection.train_test_split(stratify=labels)`.

    Args:
      labels: of classes 0, 1, 2, ...
      test_size: how many are tested on.
      rng: of the seed; it is used up.

    Returns:
      Indices of both.
    """
    counts = np.bincount(labels)
    trained = _shares(counts, len(labels) - test_size, rng)
    tested = _shares(counts - trained, test_size, rng)
    train, test = [], []
    for label, (first, more) in enumerate(zip(trained, tested, strict=True)):
        of_class = np.flatnonzero(labels == label)
        drawn = of_class[rng.permutation(len(of_class))]
        train.append(drawn[:first])
        test.append(drawn[first : first + more])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


def _shares(counts: np.ndarray, size: int, rng: np.random.RandomState) -> np.ndarray:
    """Whole numbers in proportion to counts: the largest remainders are rounded up."""
    exact = counts / counts.sum() * size
    shares = np.floor(exact).astype(int)
    remainders = exact - shares
    for remainder in np.unique(remainders)[::-1]:
        missing = size - shares.sum()
        if missing <= 0:
            break
        equal = np.flatnonzero(remainders == remainder)
        drawn = rng.choice(equal, size=min(len(equal), missing), replace=False)
        shares[drawn] += 1
    return shares
