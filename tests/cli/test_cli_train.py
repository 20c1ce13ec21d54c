"""`optix-tricks train`: what a run ends with, and how one goes on."""

import json
import re

import numpy as np

from optix_tricks.training import RunDirectory
from tests.cli.command import FAST, run


def test_a_run_of_another_recipe_is_not_resumed(capsys, tmp_path):
    with RunDirectory.start(tmp_path / "r", recipe="digits", config={}):
        pass
    path = str(tmp_path / "r")
    code, _, err = run(capsys, "train", "cifar10_resnet9", "--resume", path)
    assert code == 2
    assert "is of recipe 'digits', got 'cifar10_resnet9'" in err


def test_a_run_may_be_resumed_with_the_traceback_of_an_error(capsys, tmp_path):
    for words in (["--debug"], []):
        code, _, err = run(capsys, "train", "--resume", str(tmp_path), *words)
        assert code == 1  # understood, though there is no run
        assert "is not a run directory" in err
        assert ("Traceback" in err) == bool(words)


def test_train_ends_with_a_table_a_page_and_curves(capsys, tmp_path):
    code, out, _ = run(capsys, "train", "digits", *FAST, "--run-dir", str(tmp_path / "r"))
    assert code == 0
    assert re.search(r"test accuracy .*%", out)
    assert (tmp_path / "r" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "r" / "figures" / "curves.png").exists()
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["config"]["width"] == 2
    assert config["config"]["momentum"] == 0.9


def test_resume_of_a_finished_run_repeats_its_result(capsys, tmp_path):
    path = str(tmp_path / "r")
    run(capsys, "train", "digits", *FAST, "--run-dir", path)
    before = json.loads((tmp_path / "r" / "result.json").read_text())
    code, _, _ = run(capsys, "train", "--resume", path)
    assert code == 0
    assert json.loads((tmp_path / "r" / "result.json").read_text()) == before


def test_arrays_of_any_name_can_be_trained_on(capsys, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.integers(0, 256, (32, 8, 8, 3), np.uint8),
        "train_labels": np.arange(32) % 4,
        "test_images": rng.integers(0, 256, (8, 8, 8, 3), np.uint8),
        "test_labels": np.arange(8) % 4,
    }
    np.savez(tmp_path / "mine.npz", **arrays)
    code, out, err = run(
        capsys, "train", "cifar10_resnet9", "--dataset", str(tmp_path / "mine.npz"),
        "--width", "2", "--epochs", "1", "--batch-size", "16", "--padding", "1",
        "--run-dir", str(tmp_path / "r"),
    )  # fmt: skip
    assert code == 0, err
    assert "4 classes" in out
