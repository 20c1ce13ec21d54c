"""What is counted of outputs and targets, against NumPy and scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as reference

from optix_tricks.training import (
    absolute_error,
    accuracy,
    default_metrics,
    label_accuracy,
    r_squared,
    top_k_accuracy,
)

RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(30, 6)), jnp.float32)
CLASSES = jnp.asarray(RNG.integers(0, 6, 30))


def test_accuracy_counts_classes_dense_labels_and_the_first_of_a_tuple():
    want = reference.accuracy_score(CLASSES, LOGITS.argmax(axis=1))
    dense = 0.6 * np.eye(6)[CLASSES] + 0.4 * np.eye(6)[RNG.integers(0, 6, 30)]
    for targets in (CLASSES, jnp.asarray(dense), (CLASSES, LOGITS)):
        assert np.mean(accuracy(LOGITS, targets)) == pytest.approx(want)


def test_accuracy_of_positions_is_one_value_a_position():
    found = accuracy(LOGITS.reshape(5, 6, 6), CLASSES.reshape(5, 6))
    assert found.shape == (5, 6)
    np.testing.assert_array_equal(found.ravel(), LOGITS.argmax(axis=1) == CLASSES)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_is_scikit_learns(k):
    want = reference.top_k_accuracy_score(CLASSES, LOGITS, k=k, labels=range(6))
    assert np.mean(top_k_accuracy(k)(LOGITS, jnp.asarray(CLASSES))) == want


def test_of_equal_outputs_the_smaller_class_goes_before():
    equal = jnp.zeros((3, 3))
    assert top_k_accuracy(2)(equal, jnp.arange(3)).tolist() == [True, True, False]
    assert top_k_accuracy(1)(equal, jnp.arange(3)).tolist() == [True, False, False]
    assert accuracy(equal, jnp.arange(3)).tolist() == [True, False, False]


def test_of_several_labels_the_share_that_is_told():
    logits, labels = map(
        jnp.asarray, (RNG.normal(size=(20, 4)), RNG.integers(0, 2, (20, 4)))
    )
    want = 1 - reference.hamming_loss(labels, logits > 0)
    assert np.mean(label_accuracy(logits, labels)) == pytest.approx(want)


def test_errors_of_numbers_are_scikit_learns():
    y = RNG.normal(size=40)
    told = y + RNG.normal(size=40) / 3
    metric = r_squared(np.var(y))
    r2 = np.mean(metric(jnp.asarray(told), jnp.asarray(y)))
    assert r2 == pytest.approx(reference.r2_score(y, told), rel=1e-5)
    error = np.mean(absolute_error(jnp.asarray(told), jnp.asarray(y)))
    assert error == pytest.approx(reference.mean_absolute_error(y, told), rel=1e-5)


@pytest.mark.parametrize(
    ("outputs", "targets", "names"),
    [
        ((4, 3), jnp.zeros(4, int), {"accuracy"}),
        ((4, 7, 3), jnp.zeros((4, 7), int), {"accuracy"}),
        ((4, 3), jnp.zeros((4, 3), int), set()),  # several labels, not classes
        ((4, 7, 3), jnp.zeros(4, int), set()),
        ((4,), jnp.zeros(4), set()),
        ((4, 3), jnp.zeros((4, 3)), set()),
        ((), jnp.zeros((), int), set()),
    ],
)
def test_accuracy_goes_without_saying_for_classes_alone(outputs, targets, names):
    assert default_metrics(jnp.zeros(outputs), targets).keys() == names


def test_there_is_no_top_0():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        top_k_accuracy(0)
