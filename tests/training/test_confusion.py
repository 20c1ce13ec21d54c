"""Which class is taken for which, against scikit-learn."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from optix_tricks.training import RunDirectory, confusion_matrix, train
from tests.training.toy_runs import linear_job, toy_dataset

RNG = np.random.default_rng(0)
Z = jnp.asarray(RNG.normal(size=(200, 5)), jnp.float32)
Y = RNG.integers(0, 5, 200).astype(np.int32)


def test_counts_are_those_of_scikit_learn():
    want = metrics.confusion_matrix(Y, Z.argmax(1))
    np.testing.assert_array_equal(confusion_matrix(Z, jnp.asarray(Y)), want)
    weights = RNG.integers(0, 2, 200).astype(np.float32)
    kept = weights > 0
    want = metrics.confusion_matrix(Y[kept], Z[kept].argmax(1))
    np.testing.assert_array_equal(
        confusion_matrix(Z, jnp.asarray(Y), jnp.asarray(weights)), want
    )


def test_labels_of_no_class_are_not_counted():
    odd = np.where(np.arange(200) % 3 == 0, 5, Y).astype(np.int32)
    odd[:2] = -1
    kept = (odd >= 0) & (odd < 5)
    want = metrics.confusion_matrix(odd[kept], Z[kept].argmax(1))
    np.testing.assert_array_equal(confusion_matrix(Z, jnp.asarray(odd)), want)


def test_a_run_leaves_the_matrix_of_its_final_test(tmp_path):
    dataset, job = toy_dataset(), linear_job()
    with RunDirectory.start(tmp_path / "run", recipe="x", config={}) as run:
        state, result = train(job, dataset, run)
    told = np.asarray(job.predicted(state, jnp.asarray(dataset.test.inputs))).argmax(1)
    want = metrics.confusion_matrix(dataset.test.targets, told)
    np.testing.assert_array_equal(result.test.confusion, want)
    written = json.loads((tmp_path / "run" / "confusion.json").read_text())
    assert written == {"classes": list("abc"), "counts": want.tolist()}
    right = np.trace(want) / want.sum()
    assert result.test.metrics["accuracy"] == pytest.approx(right)


@pytest.mark.parametrize("names", [(), tuple(map(str, range(101)))])
def test_classes_without_names_and_many_have_no_matrix(names, tmp_path):
    dataset = toy_dataset()._replace(class_names=names)
    with RunDirectory.start(tmp_path / "run", recipe="x", config={}) as run:
        _, result = train(linear_job(epochs=1), dataset, run)
    assert result.test.confusion is None
    assert not (tmp_path / "run" / "confusion.json").exists()
