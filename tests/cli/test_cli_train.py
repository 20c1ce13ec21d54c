"""`optix-tricks train`: what a run ends with, and how one goes on."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from optix_tricks.cli._options import UsageError
from optix_tricks.cli._resume import _for_longer
from optix_tricks.cli._settings import settings_of
from optix_tricks.recipes import new_run
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


def test_a_finished_run_says_so_and_is_trained_for_longer(capsys, tmp_path):
    path = str(tmp_path / "r")
    words = ["train", "digits", *FAST, "--learning-rate", "0.4", "--run-dir"]
    code, out, _ = run(capsys, *words, path)
    assert f"optix-tricks diagnose run {path}" in " ".join(out.split())  # what is next
    before = (tmp_path / "r" / "result.json").read_text()
    code, out, _ = run(capsys, "train", "--resume", path)
    out = " ".join(out.split())
    assert (code, "is finished: accuracy" in out) == (0, True), out
    assert "--epochs 2 trains it for longer" in out
    assert (tmp_path / "r" / "result.json").read_text() == before
    for epochs in ("1", "0"):
        code, _, err = run(capsys, "train", "--resume", path, "--epochs", epochs)
        assert (code, "has 1 behind it; give more" in err) == (2, True)

    code, out, err = run(capsys, "train", "--resume", path, "--epochs", "2")
    assert code == 0, err
    # A fifth is warm-up, then 0.4 falls linearly: 0 after one of one, 0.25 of two.
    said = r"after epoch 1 it is ([\d.]+), where it had come to 0\."
    rate = float(re.search(said, " ".join(out.split()))[1])
    assert rate == pytest.approx(0.25, rel=0.05)
    rows = RunDirectory.follow(path).read_metrics()
    steps = [row["step"] for row in rows if row["kind"] == "train"]
    assert steps == list(range(1, 23))
    rates = {row["step"]: row["learning_rate"] for row in rows if row["kind"] == "train"}
    assert rates[12] == pytest.approx(rate, rel=0.01)
    assert json.loads((tmp_path / "r" / "result.json").read_text())["epochs"] == 2
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["config"]["epochs"] == 2
    out = run(capsys, "train", "--resume", path)[1]
    assert "is finished" in " ".join(out.split())


def test_a_run_that_ended_by_its_own_rule_or_within_an_epoch_is_not_made_longer(tmp_path):
    settings = new_run("digits")
    numbers = tmp_path / "checkpoints" / "15"
    numbers.mkdir(parents=True)
    for total, epochs, said in (
        (20, 15, "ended after 15 of 20 epochs by its own rule"),
        (14.5, 14.5, "ended within an epoch, after 14.5"),
    ):
        setup = dataclasses.replace(settings.setup, epochs=total)
        own = dataclasses.replace(settings, setup=setup)
        with pytest.raises(UsageError, match=said):
            _for_longer(own, 30, tmp_path, {"epochs": epochs})


def test_resume_without_a_run_or_with_none_names_the_way_out(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("empty").mkdir()
    wrong = [
        (2, ["--resume"], "--resume needs a run's directory: `optix-tricks runs` lists"),
        (2, ["--resume", "--debug"], "--resume needs a run's directory: "),
        (1, ["--resume", "file"], "file is not a run directory: it is a file"),
        (1, ["--resume", "empty"], "empty is not a run directory: it has no config.json"),
        (1, ["--resume=absent"], "there is no such directory; `optix-tricks runs` lists"),
    ]
    for code, words, said in wrong:
        got, _, err = run(capsys, "train", *words)
        assert (got, said in err) == (code, True), err
    for name in ("runs/new", "runs/old"):
        with RunDirectory.start(name, recipe="digits", config={}):
            pass
    environment = Path("runs/old/environment.json")
    environment.write_text('{"started": "2020-01-01T00:00:00+00:00"}')
    assert "the newest here, runs/new: " in run(capsys, "train", "--resume")[2]


def test_the_settings_of_a_run_are_those_of_another(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = ["digits", "--width", "3", "--with", "mixup=0.3", "--seed", "7"]
    said = settings_of("train", first)[0].as_json()
    Path("mine.json").write_text(json.dumps({"recipe": "digits", "config": said}))
    for words in (["--config", "mine.json"], ["digits", "--config=mine.json"]):
        assert settings_of("train", words)[0].as_json() == said
    changed, _ = settings_of(
        "train", ["--config", "mine.json", "--without", "mixup", "--seed", "8"]
    )
    assert (
        changed.as_json()
        == settings_of("train", ["digits", "--width", "3", "--seed", "8"])[0].as_json()
    )
    Path("broken.json").write_text('{"recipe": "digits", "config": {"format": 3}}')
    wrong = [
        (["cifar10_resnet9", "--config", "mine.json"], "is of recipe 'digits', got 'ci"),
        (["--config", "none.json"], "none.json cannot be taken (FileNotFoundError"),
        (["--config", "broken.json"], "broken.json cannot be taken (KeyError"),
        (["digits", "--config"], "--config a file."),
        (["digits", "--seed", "-1"], "--seed must be from 0 to 4294967295, got -1."),
    ]
    for words, said in wrong:
        code, _, err = run(capsys, "show", *words)
        assert (code, said in err) == (2, True), err


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
    more = ["--devices", "2", "--epochs", "2"]
    code, out, _ = run(capsys, "train", "--resume", path, *more)
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
