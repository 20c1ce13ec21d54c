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
    tricks = dict(config["config"]["tricks"])
    assert tricks["resnet9"]["width"] == 2
    assert tricks["nesterov"]["momentum"] == 0.9


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


def test_a_run_takes_devices_and_goes_on_on_others(capsys, tmp_path):
    path = str(tmp_path / "r")
    places = ["--devices", "8", "--layout", "fsdp", "--norm-devices", "2"]
    code, out, _ = run(capsys, "train", "digits", *FAST, *places, "--run-dir", path)
    assert code == 0
    assert "; 8 devices, fsdp; run" in out
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert dict(config["config"]["tricks"])["ghost_batch_norm"] == {"ghost_size": 32}
    code, out, _ = run(capsys, "train", "--resume", path, "--devices", "2")
    assert code == 0
    assert "; 2 devices, replicated;" in out


def test_devices_that_are_not_there_do_not_divide_or_have_no_norm(capsys, tmp_path):
    path = ["--run-dir", str(tmp_path / "r")]
    for words, said in (
        (["--devices", "9"], "devices must be from 1 to the 8 here, got 9"),
        (["--devices", "3", "--batch-size", "64"], "multiple of the 3 devices"),
        (["--layout", "zero1"], "must be replicated on one device"),
        (["--devices", "8", "--norm-devices", "3"], "must divide the 8 devices, got 3"),
        (
            ["--with", "group_norm", "--devices", "8", "--norm-devices", "2"],
            "for batch norms, and the setup has group_norm",
        ),
    ):
        code, _, err = run(capsys, "train", "digits", *words, *path)
        assert (code, said in err) == (2, True), err
    code, _, err = run(capsys, "train", "--resume", *path[1:], "--layout", "zero3")
    assert (code, "invalid choice: 'zero3'" in err) == (2, True), err
    assert not (tmp_path / "r").exists()


def test_a_profile_is_taken_and_the_last_sentence_says_how_to_open_it(capsys, tmp_path):
    path = str(tmp_path / "r")
    words = ["train", "digits", *FAST, "--run-dir", path, "--profile"]
    code, _, err = run(capsys, *words, "400")
    assert code == 1
    assert "at most half of an epoch's" in err
    code, out, err = run(capsys, *words[:-2], str(tmp_path / "s"), "--profile", "2")
    assert code == 0, err
    last = " ".join(out.split("The profile is")[1].split())
    assert last.split(":")[0].endswith(".trace.json.gz")
    assert last.endswith(f"xprof --logdir {tmp_path / 's' / 'profile'}")
