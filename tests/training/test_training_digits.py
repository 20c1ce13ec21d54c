"""Digits are those of scikit-learn, split as it splits."""

import numpy as np
import pytest
import sklearn.datasets
import sklearn.model_selection

from optix_tricks.training import load_digits
from optix_tricks.training._digits import stratified


def test_images_labels_and_split_are_scikit_learns():
    bunch, found = sklearn.datasets.load_digits(), load_digits()
    want = sklearn.model_selection.train_test_split(
        np.rint(bunch.images[..., None] * (255 / 16)).astype(np.uint8),
        bunch.target,
        test_size=360,
        stratify=bunch.target,
        random_state=0,
    )
    got = found.train.inputs, found.test.inputs, found.train.targets, found.test.targets
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(4))
def test_a_stratified_split_is_scikit_learns(seed):
    labels = np.random.default_rng(seed).permutation(
        np.repeat(np.arange(7), range(9, 16))
    )
    for size in (7, 20, 41):
        want = sklearn.model_selection.train_test_split(
            np.arange(len(labels)), test_size=size, stratify=labels, random_state=seed
        )
        got = stratified(labels, size, np.random.RandomState(seed))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
