"""Classes that cannot be learnt: of one only, and those that training never sees."""

import numpy as np
import pytest

from optix_tricks.tricks._targets import AbsentClass, check_classes
from tests.tricks.toys import dataset, text


def of(train, test):
    data = dataset()
    train, test = (np.asarray(y, np.int32) for y in (train, test))
    return data._replace(
        train=data.train._replace(inputs=data.train.inputs[: len(train)], targets=train),
        test=data.test._replace(inputs=data.test.inputs[: len(test)], targets=test),
        class_names=("cat", "dog", "eel", "fly"),
    )


def test_one_class_is_refused():
    said = "must be of two classes or more, got 2 alone: there is nothing to tell apart"
    with pytest.raises(ValueError, match=said):
        check_classes(of([2] * 8, [2, 2]))


def test_a_class_that_is_tested_and_not_trained_on_is_named():
    said = "no training example is of dog, fly, as 3 test examples are: these cannot be"
    with pytest.warns(AbsentClass, match=said):
        check_classes(of([0, 2] * 4, [1, 3, 1, 0]))
    check_classes(of([0, 1, 2, 3] * 2, [1, 3]))  # warnings are errors here
    check_classes(text())  # of each position, which is no class of an example
