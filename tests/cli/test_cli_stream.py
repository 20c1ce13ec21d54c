"""Folders of photographs by the command line: streamed, stopped, gone on with, tested."""

import json
import shutil
from pathlib import Path

import pytest
import sklearn.datasets

from optix_tricks.runs import load_run
from tests.cli.command import run

PHOTOGRAPHS = ("china.jpg", "flower.jpg")  # of 640 x 427 pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    images = Path(sklearn.datasets.__file__).parent / "images"
    for split, count in (("train", 4), ("val", 2)):
        for name in PHOTOGRAPHS:
            home = root / split / Path(name).stem
            home.mkdir(parents=True)
            for i in range(count):
                shutil.copyfile(images / name, home / f"{i}.jpg")
    return root


TINY = """
from flax import nnx
from optix_tricks import tricks
from optix_tricks.tricks import Setup


def setup():
    def tiny(context, *, rngs):
        head = nnx.Linear(context.channels, context.classes, rngs=rngs)
        return nnx.Sequential(lambda x: x.mean((1, 2)), head)

    return Setup(tiny, epochs=2, batch_size=4).take(
        tricks.nesterov(0.1), tricks.resized_crop(16), tricks.flip
    )
"""


def test_photographs_are_streamed_and_gone_on_with(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(TINY)
    words = ["train", "./tiny.py", "--dataset", str(folder), "--epochs", "1"]
    code, out, err = run(capsys, *words, "--stream", "--run-dir", "run")
    assert (code, err) == (0, "")
    assert "8 training and 4 test examples, 2 classes, streamed, 16 x 16 x 3;" in out
    config = json.loads(Path("run/config.json").read_text())["config"]
    assert config["stream"] is True
    code, out, err = run(capsys, "train", "--resume", "run", "--epochs", "2")
    assert (code, err) == (0, "")
    tested = load_run("run").evaluate()
    result = json.loads(Path("run/result.json").read_text())
    assert (tested.loss, tested.size) == (result["test_loss"], 4)
    assert Path("run/examples.npz").exists()
    code, out, err = run(capsys, *words, "--memory", "1MB", "--run-dir", "fits")
    assert code == 0
    assert "streamed" not in out
    assert "stream" not in json.loads(Path("fits/config.json").read_text())["config"]


def test_wrong_words_about_memory_and_data(folder, capsys):
    words = ["train", "imagenet_resnet50", "--dataset", str(folder)]
    code, _, err = run(capsys, *words, "--memory", "8 gigs")
    assert code == 2
    assert "memory must be like 512MB, 16GB or 8GiB, got '8 gigs'" in err
    code, _, err = run(capsys, "train", "digits", "--stream")
    assert code == 1
    assert "data set 'digits' lies in memory and cannot be streamed" in err


@pytest.mark.slow
def test_resnet50_trains_on_photographs(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--width", "2", "--size", "32", "--batch-size", "4", "--epochs", "1"]
    words += ["--dataset", str(folder), "--stream", "--workers", "1", "--run-dir", "run"]
    code, out, err = run(
        capsys, "train", "imagenet_resnet50", *words, "--warm-up.epochs", "0"
    )
    assert (code, err) == (0, "")
    assert "streamed, 32 x 32 x 3" in out
