"""The command line as a user meets it: what it prints and how it ends."""

import re

import pytest

from tests.cli.command import FAST, run


def test_list_says_claim_source_and_cost_of_every_recipe(capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    for word in ("digits", "cifar10_resnet9", "claim", "source", "cost", "Page"):
        assert word in out


def test_report_draws_the_page_again(capsys, tmp_path):
    path = str(tmp_path / "r")
    run(capsys, "train", "digits", *FAST, "--run-dir", path)
    (tmp_path / "r" / "report.html").unlink()
    code, out, _ = run(capsys, "report", path)
    assert code == 0
    assert "report.html" in out
    assert (tmp_path / "r" / "report.html").exists()


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["trian"], 2, r"unknown command 'trian'.*Did you mean 'train'\?"),
        (["train"], 2, "train needs a recipe: one of digits, "),
        (["train", "digit"], 2, r"unknown recipe 'digit'.*Did you mean 'digits'\?"),
        (["train", "digits", "--widht", "3"], 2, "widht"),
        (["train", "digits", "--width", "wide"], 2, "wide"),
        (["train", "digits", "--resume", "x", "--width", "3"], 2, "--resume RUN stands"),
        (["train", "--resume", "nowhere"], 1, "nowhere is not a run directory"),
        (["report"], 2, "report takes run directories"),
        (["report", "nowhere"], 1, "nowhere"),
        (
            ["train", "digits", "--learning-rate", "-1"],
            2,
            r"learning_rate must be zero or positive, got -1.0",
        ),
        (["train", "digits", "--epochs", "0"], 2, "epochs must be positive, got 0"),
        (
            ["train", "digits", "--batch-size", "5000"],
            2,
            "batch_size must be at most the number of training examples, 1437, got 5000",
        ),
        (["train", "digits", "--momentum", "1.5"], 2, r"must be in \[0, 1\), got 1.5"),
        (["train", "digits", "--weight-decay", "-1"], 2, "weight_decay .* got -1.0"),
        (["train", "digits", "--warm-up", "2"], 2, "fraction .* got 2"),
        (["train", "digits", "--label-smoothing", "2"], 2, "label_smoothing .* got 2"),
        (["train", "digits", "--width", "0"], 2, "width must be at least 1, got 0"),
        (["train", "digits", "--mixup", "2"], 2, "no trick mixup: .* --with mixup=NUM"),
        (["train", "digits", "--mixup.alpha", "2"], 2, "no trick mixup: .* --with mixup"),
        (["train", "digits", "--with", "mixpu"], 2, r"'mixpu'.*Did you mean 'mixup'\?"),
        (["train", "digits", "--without", "cutout"], 2, "no trick 'cutout' to leave out"),
        (["train", "digits", "--with"], 2, "take the name of a trick"),
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
    for flag in ("--resnet9.width", "--nesterov.learning-rate", "--seed", "--run-dir"):
        assert flag in out
