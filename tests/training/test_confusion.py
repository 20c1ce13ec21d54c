"""Which class is taken for which, against scikit-learn."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from optix_tricks.training import Batch, Dataset, RunDirectory, confusion_matrix, train
from optix_tricks.training._epoch import Evaluation
from optix_tricks.training._examples import BEST, WORST, write_examples
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


def test_a_run_leaves_its_worst_and_best_images_and_its_norms(tmp_path):
    dataset, job = toy_dataset(), linear_job()
    with RunDirectory.start(tmp_path / "run", recipe="x", config={}) as run:
        state, _ = train(job, dataset, run)
    (layer,) = json.loads((run.path / "layers.json").read_text())["layers"]
    assert layer == {
        "name": "kernel",
        "shape": [192, 3],
        "start": pytest.approx(np.sqrt(np.sum(np.square(job.params["kernel"])))),
        "end": pytest.approx(np.sqrt(np.sum(np.square(state.params["kernel"])))),
    }
    with np.load(tmp_path / "run" / "examples.npz") as file:
        found = dict(file)
    logits = np.asarray(job.predicted(state, jnp.asarray(dataset.test.inputs)), float)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = dataset.test.targets
    loss = -np.log(chances[np.arange(40), targets])
    index = found["index"]
    order = np.argsort(-loss)
    assert index.tolist() == [*order[:WORST], *order[-BEST:]]
    np.testing.assert_allclose(found["loss"], loss[index], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found["told"], logits.argmax(1)[index])
    np.testing.assert_array_equal(found["is"], targets[index])
    np.testing.assert_array_equal(found["images"], dataset.test.inputs[index])


def test_of_no_images_there_are_none(tmp_path):
    batch = Batch(np.ones((4, 3), np.uint8), np.zeros(4, np.int32))
    dataset = Dataset("x", batch, batch, ("a", "b"))
    found = Evaluation(0.0, {}, 4, each=((0, 1.0),) * 4)
    with RunDirectory.start(tmp_path / "run", recipe="x", config={}) as run:
        write_examples(run, found, dataset)
        images = batch._replace(inputs=np.ones((4, 2, 2, 1), np.uint8))
        images = images._replace(weights=np.array([1, 0, 1, 0]))
        assert not (run.path / "examples.npz").exists()
        write_examples(run, found, dataset._replace(test=images))
    with np.load(run.path / "examples.npz") as file:
        assert file["index"].tolist() == [0, 2]  # those that count


@pytest.mark.parametrize("names", [(), tuple(map(str, range(101)))])
def test_classes_without_names_and_many_have_no_matrix(names, tmp_path):
    dataset = toy_dataset()._replace(class_names=names)
    with RunDirectory.start(tmp_path / "run", recipe="x", config={}) as run:
        _, result = train(linear_job(epochs=1), dataset, run)
    assert result.test.confusion is None
    assert not (tmp_path / "run" / "confusion.json").exists()
