"""Tables of numbers that come with scikit-learn, which is imported when asked for."""

import numpy as np

from optix_tricks._extras import needed
from optix_tricks.training._batch import Batch
from optix_tricks.training._dataset import Dataset


def load_diabetes() -> Dataset:
    """Load scikit-learn's bundled diabetes set: a number of each of 442 patients.

    Ten measurements, and how far the disease had gone a year later. Both are float32 of
    mean 0 and deviation 1 over the training split, so that a loss of 1 is that of the
    mean; an error of 1 is 78.3 in the target's own unit. The split is fixed:
    scikit-learn's `train_test_split`, 88 for the test, `random_state=0`.

    >>> diabetes = load_diabetes()
    >>> diabetes.train.inputs.shape, diabetes.test.targets.shape
    ((354, 10), (88,))

    Source: "Least Angle Regression", Efron, Hastie, Johnstone and Tibshirani, 2004.
    """
    x, y = needed("sklearn.datasets").load_diabetes(return_X_y=True, scaled=False)
    (x_train, y_train), (x_test, y_test) = _split(x, y, test_size=88)
    inputs = _standardised(x_train, x_test)
    targets = _standardised(y_train, y_test)
    train, test = (Batch(*pair) for pair in zip(inputs, targets, strict=True))
    return Dataset("diabetes", train, test)


def load_breast_cancer() -> Dataset:
    """Load scikit-learn's bundled breast cancer set: 569 tumours of two classes.

    Thirty measurements of the nuclei of cells, float32 of mean 0 and deviation 1 over the
    training split. The split is fixed: scikit-learn's `train_test_split`, stratified by
    class, 114 for the test, `random_state=0`.

    >>> tumours = load_breast_cancer()
    >>> tumours.train.inputs.shape, tumours.test.targets.shape, tumours.class_names
    ((455, 30), (114,), ('malignant', 'benign'))

    Source: "Nuclear Feature Extraction for Breast Tumor Diagnosis", Street, Wolberg and
    Mangasarian, 1993.
    """
    bunch = needed("sklearn.datasets").load_breast_cancer()
    labels = bunch.target.astype(np.int32)
    (x_train, y_train), (x_test, y_test) = _split(
        bunch.data, labels, test_size=114, stratify=labels
    )
    x_train, x_test = _standardised(x_train, x_test)
    names = tuple(map(str, bunch.target_names))
    return Dataset("breast_cancer", Batch(x_train, y_train), Batch(x_test, y_test), names)


def _split(
    x: np.ndarray, y: np.ndarray, **options: object
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    split = needed("sklearn.model_selection").train_test_split(
        x, y, random_state=0, **options
    )
    x_train, x_test, y_train, y_test = split
    return (x_train, y_train), (x_test, y_test)


def _standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x - mean) / deviation of the training split."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scaled = [((x - mean) / deviation).astype(np.float32) for x in (train, test)]
    return scaled[0], scaled[1]
