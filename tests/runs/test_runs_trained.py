"""A loaded run predicts and tests as its last test did, and refuses what does not fit."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.reports import ReportError
from optix_tricks.runs import load_run
from optix_tricks.training import Batch, CheckpointError, Dataset, RunDirectory, RunError
from tests.runs.trained import checkpoint, numbers
from tests.tricks.toys import images


@pytest.fixture(scope="module")
def averaged(runs):
    return load_run(runs.averaged)


@pytest.fixture(scope="module")
def of_numbers(runs):
    return load_run(runs.numbers)


def linear(weights, inputs):
    """The network of `numbers`, again."""
    x = np.asarray(inputs["x"], np.float64)
    layer, kinds = weights["of_x"], weights["of_kind"]["embedding"]
    return (x @ layer["kernel"] + layer["bias"] + kinds[inputs["kind"]])[:, 0]


@pytest.mark.parametrize("name", ["plain", "averaged", "numbers"])
def test_the_test_of_a_loaded_run_has_the_numbers_of_its_result(name, runs):
    path = getattr(runs, name)
    result = json.loads((path / "result.json").read_text())
    run = load_run(path)
    test = run.evaluate()
    found = {"loss": test.loss, "size": test.size, **test.metrics}
    # Another program than the run's last test, which hands out each example's loss too.
    assert {f"test_{name}": x for name, x in found.items()} == pytest.approx(
        {name: x for name, x in result.items() if name.startswith("test_")}, rel=1e-6
    )
    assert run.evaluate(run.dataset.test) == test
    assert run.result == result
    assert (run.path, run.epoch) == (path, 2 if name != "numbers" else 4)


def test_a_loaded_run_says_what_it_was(averaged, of_numbers):
    assert averaged.class_names == ("a", "b", "c")
    assert averaged.dataset.name == "toy"
    assert averaged.recipe.endswith("averaged.py")
    names = [each.name for each in averaged.settings.setup.tricks]
    assert names == ["sgd", "ema", "flip_views"]
    assert of_numbers.class_names == ()


def test_predictions_are_those_that_were_tested(averaged):
    """Loss and accuracy follow from them; preprocessing, average and views count."""
    test = averaged.dataset.test
    logits = averaged.predict(test.inputs)
    assert isinstance(logits, np.ndarray)
    wide = logits.astype(np.float64)
    own = wide[np.arange(len(wide)), test.targets]
    loss = np.mean(np.log(np.sum(np.exp(wide), axis=1)) - own)
    assert loss == pytest.approx(averaged.result["test_loss"], rel=1e-6)
    right = np.mean(np.argmax(wide, axis=1) == test.targets)
    assert right == pytest.approx(averaged.result["test_accuracy"])
    mirrored = averaged.predict(test.inputs[:, :, ::-1])
    np.testing.assert_allclose(mirrored, logits, rtol=1e-5, atol=1e-6)


def test_the_average_is_that_of_the_optimiser(averaged):
    """And not the last weights."""
    arrays = checkpoint(averaged.path, 2)
    last = arrays["params"]["head"]["kernel"]
    means = [
        np.asarray(x)
        for path, x in _flat(arrays["opt_state"]).items()
        if path.endswith("head/kernel") and np.shape(x) == last.shape
    ]
    shown = np.asarray(averaged.tested.params["head"]["kernel"])
    assert not np.array_equal(shown, last)
    assert any(np.allclose(shown, x, rtol=1e-6) for x in means)


def _flat(tree, path=""):
    if isinstance(tree, dict | list):
        pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
        found = {}
        for name, x in pairs:
            found |= _flat(x, f"{path}/{name}")
        return found
    return {} if tree is None else {path: tree}


@pytest.mark.parametrize("count", [1, 3, 1001])
def test_any_tree_and_any_number_of_inputs_is_predicted(count, of_numbers):
    inputs = numbers(seed=7).train.inputs
    inputs = {name: np.resize(x, (count, *x.shape[1:])) for name, x in inputs.items()}
    weights = checkpoint(of_numbers.path, 4)["params"]
    found = of_numbers.predict(inputs)
    assert (found.shape, found.dtype) == ((count,), np.float32)
    np.testing.assert_allclose(found, linear(weights, inputs), rtol=1e-5, atol=1e-5)
    wide = {"x": inputs["x"].astype(np.float64), "kind": jnp.asarray(inputs["kind"])}
    np.testing.assert_array_equal(of_numbers.predict(wide), found)


def test_many_counts_compile_few_programs(of_numbers):
    x = numbers(seed=7).train.inputs
    for count in (5, 6, 7, 8):
        of_numbers.predict({name: a[:count] for name, a in x.items()})
    before = of_numbers._compiled._cache_size()
    for count in (5, 6, 7, 8):
        of_numbers.predict({name: a[:count] for name, a in x.items()})
    assert of_numbers._compiled._cache_size() == before


def test_other_data_are_tested_by_their_own_measure(of_numbers):
    """R² is of the variance of the targets that are given; weights are the batch's."""
    data = numbers(seed=5)
    weights = checkpoint(of_numbers.path, 4)["params"]
    y = data.test.targets.astype(np.float64)
    errors = (linear(weights, data.test.inputs) - y) ** 2
    test = of_numbers.evaluate(data)
    assert test.size == 30
    assert test.loss == pytest.approx(np.mean(errors), rel=1e-5)
    assert test.metrics["r_squared"] == pytest.approx(
        1 - np.sum(errors) / np.sum((y - np.mean(y)) ** 2), rel=1e-5
    )
    w = np.arange(30, dtype=np.float32)
    weighed = of_numbers.evaluate(data.test._replace(weights=w))
    assert weighed.loss == pytest.approx(np.average(errors, weights=w), rel=1e-5)


def test_inputs_of_another_form_are_refused(averaged, of_numbers):
    floats = np.zeros((3, 8, 8, 3), np.float32)
    message = (
        r"inputs must be uint8\[n, 8, 8, 3\], as in the run's data, got"
        r" float32\[3, 8, 8, 3\]\."
    )
    with pytest.raises(ValueError, match=message):
        averaged.predict(floats)
    with pytest.raises(ValueError, match=r"got uint8\[3, 8, 3\]\.$"):
        averaged.predict(np.zeros((3, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="inputs must hold at least one example"):
        averaged.predict(np.zeros((0, 8, 8, 3), np.uint8))
    inputs = numbers().test.inputs
    with pytest.raises(ValueError, match=r"got {'x': 'float32\[30, 3\]'}"):
        of_numbers.predict({"x": inputs["x"]})
    with pytest.raises(ValueError, match=r"'kind': 'int32\[7\]'"):
        of_numbers.predict(inputs | {"kind": inputs["kind"][:7]})


def test_data_of_other_classes_are_refused(averaged):
    some = images(6)
    known = Dataset("toys", some, some, ("a", "b", "c"))
    unnamed = known._replace(class_names=("0", "1", "2"))
    assert averaged.evaluate(known) == averaged.evaluate(unnamed)
    message = r"data set 'toys' has 'x' for class 1, where the run, of 'toy', has b: test"
    with pytest.raises(ValueError, match=message):
        averaged.evaluate(known._replace(class_names=("a", "x", "c")))
    with pytest.raises(ValueError, match=r"'3' for class 3, .* has none"):
        averaged.evaluate(known._replace(class_names=("0", "1", "2", "3")))
    with pytest.raises(ValueError, match="classes of the run, 0 to 2, got 9"):
        averaged.evaluate(some._replace(targets=some.targets + 7))
    with pytest.raises(ValueError, match=r"targets must be as many as the inputs"):
        averaged.evaluate(Batch(some.inputs, some.targets[:2]))
    with pytest.raises(ValueError, match=r"targets must be int32\[n\]"):
        averaged.evaluate(Batch(some.inputs, some.targets.astype(np.float32)))


def test_what_is_no_trained_run_is_refused(runs, tmp_path):
    with pytest.raises(ReportError, match="is not a run's directory"):
        load_run(tmp_path)
    study = tmp_path / "study"
    with RunDirectory.start(study, recipe="weight-norm", config={}):
        pass
    with pytest.raises(CheckpointError, match="of 'weight-norm', has no complete"):
        load_run(study)
    begun = tmp_path / "begun"
    shutil.copytree(runs.plain, begun)
    shutil.rmtree(begun / "checkpoints")
    with pytest.raises(CheckpointError, match="complete checkpoint: take the directory"):
        load_run(begun)
    (begun / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="no complete checkpoint in"):
        load_run(begun)


def test_a_run_of_an_older_format_names_its_version(runs, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(runs.plain, old)
    for name, key, value in (
        ("config.json", "format", 1),
        ("environment.json", "optix_tricks", "0.0.9"),
    ):
        content = json.loads((old / name).read_text())
        (content["config"] if name == "config.json" else content)[key] = value
        (old / name).write_text(json.dumps(content))
    message = r"run .*old were written by optix_tricks 0.0.9, in a form that this version"
    with pytest.raises(RunError, match=message):
        load_run(old)
