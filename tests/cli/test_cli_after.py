"""`optix-tricks evaluate`, `predict` and `export`, and `train --from`."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from optix_tricks.cli._answers import answering
from optix_tricks.runs import load_run
from optix_tricks.training import Batch, Dataset, RunDirectory
from tests.cli.command import run
from tests.runs.trained import (
    IMAGES,
    TWO_CLASSES,
    checkpoint,
    numbers,
    without_page,
)
from tests.tricks.toys import images


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without_page(monkeypatch)
    return tmp_path


def cells(table):
    rows = [[cell.strip() for cell in line.split("│")] for line in table.splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 4}


def test_evaluate_prints_the_numbers_of_the_result(runs, capsys):
    result = json.loads((runs.averaged / "result.json").read_text())
    code, out, err = run(capsys, "evaluate", str(runs.averaged))
    assert (code, err) == (0, "")
    assert cells(out) == {
        "test accuracy": f"{result['test_accuracy']:.2%}",
        "test loss": f"{result['test_loss']:.4f} of 20 examples",
        "data set": "toy",
        "epochs": "2",
    }


def save_arrays(path, names, size=8):
    train, test = images(6, size), images(30, size, seed=9)
    arrays = {"train_images": train.inputs, "train_labels": train.targets}
    arrays |= {"test_images": test.inputs, "test_labels": test.targets}
    np.savez(path, class_names=np.array(names), **arrays)
    return test


def test_evaluate_takes_other_data_of_the_same_classes(runs, capsys):
    test = save_arrays("other.npz", ("a", "b", "c"))
    code, out, _ = run(capsys, "evaluate", str(runs.plain), "--dataset", "other.npz")
    assert code == 0
    right = np.argmax(load_run(runs.plain).predict(test.inputs), axis=1) == test.targets
    assert cells(out)["test accuracy"] == f"{np.mean(right):.2%}"
    assert cells(out)["data set"] == "other"


def softmax(logits):
    powers = np.exp(logits.astype(np.float64))
    return powers / np.sum(powers, axis=-1, keepdims=True)


def test_predict_names_the_likeliest_classes_of_pictures_and_arrays(runs, capsys):
    some = images(3, seed=4).inputs
    PIL.Image.fromarray(some[0]).save("own.png")
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 6:14] = some[1]  # the middle, which is taken
    PIL.Image.fromarray(wide).save("wide.png")
    np.save("many.npy", some)
    np.savez("one.npz", some[2])
    files = ["own.png", "wide.png", "many.npy", "one.npz"]
    code, out, err = run(capsys, "predict", str(runs.averaged), *files, "--json")
    assert (code, err) == (0, "")
    said = [json.loads(line) for line in out.splitlines()]
    assert [each["file"] for each in said] == files
    p = softmax(load_run(runs.averaged).predict(some))
    for each, places in zip(said, ([0], [1], [0, 1, 2], [2]), strict=True):
        for classes, place in zip(each["examples"], places, strict=True):
            order = sorted(range(3), key=lambda i: -p[place, i])
            assert [x["name"] for x in classes["classes"]] == ["abc"[i] for i in order]
            found = [x["probability"] for x in classes["classes"]]
            np.testing.assert_allclose(found, p[place, order], rtol=1e-4)

    code, out, _ = run(capsys, "predict", str(runs.averaged), "own.png", "many.npy")
    order = np.argsort(-p[0])
    first = "  ".join(f"{'abc'[i]} {p[0, i]:.1%}" for i in order)
    lines = out.splitlines()
    assert lines[0] == f"own.png  {first}"
    assert [line.split()[0] for line in lines[1:]] == [f"many.npy[{i}]" for i in range(3)]


def test_labels_of_which_several_may_be_true_have_a_probability_each():
    data = Batch(np.zeros((2, 1), np.float32), np.zeros((2, 4), bool))
    dataset = Dataset("tags", data, data, ("a", "b", "c", "d"))
    job = SimpleNamespace(epochs=1, batch_size=1)
    trained = SimpleNamespace(dataset=dataset, class_names=dataset.class_names, job=job)
    said = answering(trained)(np.array([-1.0, 3.0, 0.0, 2.0], np.float32))
    assert [x["name"] for x in said["classes"]] == ["b", "d", "c"]
    found = [x["probability"] for x in said["classes"]]
    np.testing.assert_allclose(found, [0.9525741, 0.8807971, 0.5], rtol=1e-6)


def test_predict_prints_numbers_of_named_arrays(runs, capsys):
    inputs = {name: x[:2] for name, x in numbers(5).test.inputs.items()}
    np.savez("both.npz", **inputs)
    code, out, err = run(capsys, "predict", str(runs.numbers), "both.npz")
    assert (code, err) == (0, "")
    found = [float(line.split()[1]) for line in out.splitlines()]
    layer = checkpoint(runs.numbers, 4)["params"]
    want = inputs["x"] @ layer["of_x"]["kernel"] + layer["of_x"]["bias"]
    want = (want + layer["of_kind"]["embedding"][inputs["kind"]])[:, 0]
    np.testing.assert_allclose(found, want, rtol=1e-5)
    code, out, _ = run(capsys, "predict", str(runs.numbers), "both.npz", "--json")
    assert json.loads(out)["examples"] == [{"output": x} for x in found]


def test_export_says_what_it_wrote(runs, capsys):
    code, out, err = run(capsys, "export", str(runs.plain), "to")
    assert (code, err) == (0, "")
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["to/export.json", "to/predict.jax_export", "to/weights.safetensors"]
    code, _, err = run(capsys, "export", str(runs.plain), "to")
    assert (code, err) == (1, "error: to is not empty: name another directory.\n")


def test_a_run_begins_with_the_weights_of_another_and_no_longer_needs_it(
    runs, capsys, here
):
    (here / "two.py").write_text(TWO_CLASSES)
    shutil.copytree(runs.plain, "first")
    flags = ["--from", "first", "--with", "freeze=^stem", "--run-dir", "second"]
    code, out, err = run(capsys, "train", "./two.py", *flags)
    assert (code, err) == (0, "")
    said = [line.strip() for line in out.splitlines()]
    (count,) = (line for line in said if "arrays are those of first" in line)
    there, now = checkpoint(here / "first", 2), checkpoint(here / "second", 2)
    size = sum(len(flat(x[name])) for x in (now,) for name in ("params", "batch_stats"))
    assert count == f"{size - 2} of {size} arrays are those of first"
    kept = [line for line in said if line.startswith(("as drawn", "not taken"))]
    assert kept == [
        "as drawn: params/head/bias, (3,) to (2,)",
        "as drawn: params/head/kernel, (2, 3) to (2, 2)",
    ]
    for name, x in flat(now["params"]["stem"]).items():  # frozen
        np.testing.assert_array_equal(x, flat(there["params"]["stem"])[name])

    shutil.rmtree("first")
    before = json.loads((here / "second" / "result.json").read_text())
    shutil.rmtree(here / "second" / "checkpoints" / "2")  # back to the epoch before
    code, out, err = run(capsys, "train", "--resume", "second")
    assert (code, err) == (0, "")
    assert "arrays are those of" not in out
    after = json.loads((here / "second" / "result.json").read_text())
    assert after | {"seconds": 0} == before | {"seconds": 0}
    assert load_run("second").evaluate().loss == before["test_loss"]


def test_a_run_stopped_before_its_first_checkpoint_reads_the_other_again(
    runs, capsys, here, monkeypatch
):
    """It begins at step 0, where the weights are still the other run's."""
    from optix_tricks.training import _feeds as feeds

    (here / "one.py").write_text(IMAGES)
    shutil.copytree(runs.plain, "first")
    words = ["train", "./one.py", "--from", "first", "--run-dir"]
    with monkeypatch.context() as patch:
        patch.setattr(feeds, "epoch_of", lambda step, **options: 1 / 0)
        code, _, err = run(capsys, *words, "second")
    assert code == 1
    assert "ZeroDivisionError" in err
    code, out, err = run(capsys, "train", "--resume", "second")
    assert (code, err) == (0, "")
    assert "arrays are those of first" in out
    assert run(capsys, *words, "third")[0] == 0
    second, third = (
        json.loads((here / name / "result.json").read_text()) | {"seconds": 0}
        for name in ("second", "third")
    )
    assert second == third
    assert second != json.loads((here / "first" / "result.json").read_text()) | {
        "seconds": 0
    }


def test_a_damaged_checkpoint_is_said_in_one_line(runs, capsys, here):
    shutil.copytree(runs.plain, "r")
    (here / "r" / "checkpoints" / "2" / "default" / "manifest.ocdbt").write_bytes(b"")
    said = "warning: checkpoint 2 is damaged (manifest.ocdbt); going on from 1\n"
    code, out, err = run(capsys, "evaluate", "r")
    assert (code, err) == (0, said)
    assert cells(out)["epochs"] == "1"
    code, _, err = run(capsys, "train", "--resume", "r")
    assert (code, err) == (0, said)
    assert run(capsys, "evaluate", "r")[2] == ""


def flat(tree, path=""):
    found = {}
    for name, x in tree.items():
        found |= flat(x, f"{path}/{name}") if isinstance(x, dict) else {name + path: x}
    return found


def test_wrong_things_are_one_sentence(runs, capsys, here):
    plain, of_numbers = str(runs.plain), str(runs.numbers)
    (here / "images.py").write_text(IMAGES)
    (here / "text.png").write_text("no picture")
    PIL.Image.fromarray(images(1).inputs[0]).save("own.png")
    np.save("short.npy", np.zeros((2, 5), np.uint8))
    np.savez("two.npz", a=np.zeros(3), b=np.zeros(3))
    with RunDirectory.start("study", recipe="weight-norm", config={}):
        pass
    save_arrays("other.npz", ("a", "b", "dog"))
    save_arrays("large.npz", ("a", "b", "c"), size=9)
    wrong = [
        (1, ["evaluate", "nowhere"], "nowhere is not a run's directory"),
        (
            1,
            ["predict", "study", "own.png"],
            "of 'weight-norm', has no complete",
        ),
        (
            1,
            ["export", "study", "to"],
            "run study, of 'weight-norm', has no complete",
        ),
        (2, ["predict", plain, "none.png"], "there is no file none.png."),
        (2, ["predict", plain], "predict needs files"),
        (1, ["predict", plain, "text.png"], "text.png cannot be read (cannot identify"),
        (1, ["predict", of_numbers, "own.png"], "was not trained on pictures"),
        (1, ["predict", of_numbers, "two.npz"], "arrays kind, x wanted, a, b found"),
        (1, ["predict", plain, "two.npz"], "one array wanted, a, b found"),
        (1, ["predict", plain, "short.npy"], "short.npy must be uint8[n, 8, 8, 3]"),
        (1, ["evaluate", plain, "--dataset", "other.npz"], "'dog' for class 2, where"),
        (1, ["evaluate", plain, "--dataset", "large.npz"], "got uint8[30, 9, 9, 3]"),
        (1, ["train", "images.py", "--from", "nowhere"], "no complete checkpoint in"),
        (2, ["train", "images.py", "--from", of_numbers], "in run '", "it has none."),
    ]
    for code, arguments, *messages in wrong:
        found, _, err = run(capsys, *arguments)
        assert (found, err.count("\n")) == (code, 1), (arguments, err)
        assert err.startswith("error: ")
        for message in messages:
            assert message in err
    assert not (here / "to").exists()
    assert not (here / "runs").exists()
