"""The command line as a user meets it: what it prints and how it ends."""

import json
import re

import jax
import numpy as np
import pytest

from optix_tricks.cli import main
from optix_tricks.cli._compilation_cache import keep_compiled_programs


def run(capsys, *argv):
    """Run a command; return its exit code, output and errors."""
    code = 0
    try:
        main(list(argv))
    except SystemExit as stop:
        code = stop.code
    out = capsys.readouterr()
    return code, out.out, out.err


FAST = ["--width", "2", "--epochs", "1", "--batch-size", "128"]


def test_list_says_claim_source_and_cost_of_every_recipe(capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    for word in ("digits", "cifar10_resnet9", "claim", "source", "cost", "Page"):
        assert word in out


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


def test_report_draws_the_page_again(capsys, tmp_path):
    path = str(tmp_path / "r")
    run(capsys, "train", "digits", *FAST, "--run-dir", path)
    (tmp_path / "r" / "report.html").unlink()
    code, out, _ = run(capsys, "report", path)
    assert code == 0
    assert "report.html" in out
    assert (tmp_path / "r" / "report.html").exists()


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


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["trian"], 2, r"unknown command 'trian'.*Did you mean 'train'\?"),
        (["train"], 2, "train needs a recipe: one of digits, cifar10_resnet9"),
        (["train", "digit"], 2, r"unknown recipe 'digit'.*Did you mean 'digits'\?"),
        (["train", "digits", "--widht", "3"], 2, "widht"),
        (["train", "digits", "--width", "wide"], 2, "wide"),
        (["train", "digits", "--resume", "x", "--width", "3"], 2, "--resume RUN stands"),
        (["train", "--resume", "nowhere"], 1, "nowhere is not a run directory"),
        (["report"], 2, "report takes one run directory"),
        (["report", "nowhere"], 1, "nowhere"),
        (
            ["train", "digits", "--learning-rate", "-1"],
            2,
            "learning_rate must be zero or positive, got -1.0",
        ),
        (["train", "digits", "--epochs", "0"], 2, "epochs must be at least 1, got 0"),
        (
            ["train", "digits", "--batch-size", "5000"],
            2,
            "batch_size must be at most the number of training images, 1437, got 5000",
        ),
        (["train", "digits", "--momentum", "1.5"], 2, r"must be in \[0, 1\), got 1.5"),
        (["train", "digits", "--weight-decay", "-1"], 2, "weight_decay .* got -1.0"),
        (["train", "digits", "--warmup-fraction", "2"], 2, "warmup_fraction .* got 2"),
        (["train", "digits", "--dataset", "no.npz"], 1, "no.npz cannot be read"),
        (["train", "digits", "--dataset", "nothing"], 1, "no data set 'nothing'"),
    ],
)
def test_bad_input_is_one_clear_error(capsys, tmp_path, monkeypatch, argv, code, message):
    monkeypatch.chdir(tmp_path)
    got, _, err = run(capsys, *argv)
    assert got == code
    assert re.search(message, " ".join(err.split()))
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(capsys):
    code, _, err = run(capsys, "train", "digits", "--epochs", "0", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_help_names_every_field_of_a_recipe(capsys):
    code, out, _ = run(capsys, "train", "digits", "--help")
    assert code == 0
    for flag in ("--width", "--learning-rate", "--seed", "--run-dir", "--debug"):
        assert flag in out


def test_diagnose_run_says_what_is_seen(capsys, tmp_path):
    path = tmp_path / "r"
    run(capsys, "train", "digits", *FAST, "--run-dir", str(path))
    code, out, _ = run(capsys, "diagnose", "run", str(path))
    assert code == 0
    assert str(path / "figures" / "diagnosis.png") in out
    assert (path / "figures" / "diagnosis.png").exists()
    code, out, _ = run(capsys, "diagnose", "run", str(path), "--probe")
    assert code == 0
    assert "the last of a probe)" in out
    assert (path / "probe.jsonl").exists()


def test_diagnose_weight_norm_ends_with_a_table_of_layers(capsys, tmp_path):
    path = str(tmp_path / "study")
    flags = ["--dataset", "digits", "--width", "2", "--constant-steps", "6"]
    command = ["diagnose", "weight-norm", "--parts", "constant", *flags]
    code, out, _ = run(capsys, *command, "--run-dir", path)
    assert code == 0
    assert out.count("not invariant") == 1
    assert re.search(r"layer3_residual2/conv.*±", out)
    code, _, err = run(capsys, *command, "--run-dir", path)
    assert code == 1
    assert "is not empty" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "diagnose takes run, curvature, weight-norm, got none"),
        (["weight_norm"], "Did you mean 'weight-norm'?"),
        (["run"], "PATH"),
        (["weight-norm", "--parts", "rate"], "Did you mean 'rates'?"),
        (["weight-norm", "--resume", "a", "--width", "8"], "--width"),
        (["weight-norm", "--momentum", "1"], "momentum must be in [0, 1), got 1"),
        (["weight-norm", "--constant-steps", "1"], "constant_steps must be at least 4"),
    ],
)
def test_diagnose_refuses_in_one_sentence(capsys, arguments, message):
    code, _, err = run(capsys, "diagnose", *arguments)
    assert code == 2
    assert message in err


def test_compiled_programs_are_kept_unless_told_otherwise(tmp_path, monkeypatch):
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        jax.config.update(names[0], "elsewhere")
        keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == "elsewhere"
        jax.config.update(names[0], None)
        keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "optix_tricks/jax")
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
