"""`optix-tricks diagnose`: what it ends with, shows, and refuses."""

import re

import pytest
from rich.console import Console

from optix_tricks import studies
from optix_tricks.cli import _diagnose, _weight_norm
from optix_tricks.training import RunDirectory
from tests.cli.command import FAST, run


def layers(accuracy):
    row = {
        "layer": "conv/kernel",
        "scale_invariant": True,
        "measured": 0.012,
        "predicted": 0.01,
        "corrected": 0.016,
        "standard_error": 0.05,
        "autocorrelation": 0.25,
    }
    other = row | {"layer": "head/kernel", "scale_invariant": False}
    ends = {"from_step": 2, "to_step": 9, "test_accuracy": accuracy}
    return ends | {"layers": [row, other]}


FOUND = {
    "schedules": {"sgd": layers(0.5), "momentum": layers(0.75)},
    "constant": {"constant": layers(0.25), "relaxation_steps": 9.0},
    "gradients": {
        "noise": 300.0,
        "signal": 2.0,
        "batch_sizes": [16, 64],
        "square_norm": [4.0, 1.5],
    },
    "lars": {"sgd": {"test_accuracy": [0.5, None]}},
}


def test_every_part_that_is_there_is_shown(capsys, monkeypatch, tmp_path):
    shown = []

    def study(config, dataset, directory, *, parts, on_step):
        for done in range(4):
            on_step("constant", done, 4)
        return FOUND

    def bars(console):
        shown.append(made(console))
        return shown[0]

    made = _weight_norm.counting
    monkeypatch.setattr(_weight_norm, "counting", bars)
    monkeypatch.setattr(studies, "run_study", study)
    path = str(tmp_path / "r")
    code, out, err = run(
        capsys, "diagnose", "weight-norm", "--dataset", "digits", "--run-dir", path
    )
    assert code == 0, err
    [task] = shown[0].tasks
    assert (task.description, task.completed, task.total) == ("constant", 4, 4)
    words = " ".join(re.sub(r"[^\w./%±+-]", " ", out).split())
    for title in ("sgd", "momentum", "constant"):
        assert f"{title} rate g / w steps 2 to 9" in words
    for accuracy in ("50.00%", "75.00%", "25.00%"):
        assert words.count(f"test accuracy {accuracy}") == 1
    assert words.count("conv 0.01200 1.200 0.750 ± 0.050 +0.250") == 3
    assert words.count("head 0.01200 not invariant +0.250") == 3
    assert "noise scale 150 examples" in words
    # |g| of 2 and sqrt(1.5); sqrt(64 x 1.5 / (16 x 4)) is what noise alone makes 1.
    assert "16 2.0000 1.00 64 1.2247 1.22" in words
    assert "sgd 50.00% diverged" in words


def test_bars_count_what_is_done_of_how_many():
    kinds = [type(column).__name__ for column in _diagnose.counting(Console()).columns]
    assert kinds == [
        *("TextColumn", "BarColumn", "MofNCompleteColumn", "TimeRemainingColumn")
    ]


def test_a_run_of_another_kind_is_not_resumed(capsys, tmp_path):
    with RunDirectory.start(tmp_path / "r", recipe="digits", config={}):
        pass
    code, _, err = run(capsys, "diagnose", "weight-norm", "--resume", str(tmp_path / "r"))
    assert code == 1
    assert "is of 'digits', not of 'weight-norm'" in err


@pytest.mark.further
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


@pytest.mark.further
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
        (["Run"], "Did you mean 'run'?"),
        (["weight_norm"], "Did you mean 'weight-norm'?"),
        (["run"], "RUN"),
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


def test_what_is_slow_shows_that_it_lives_where_no_bar_can_be_seen(
    capsys, monkeypatch, tmp_path
):
    def diagnose_run(path, *, probe, data_dir, on_step):
        for done in range(41):
            on_step(done, 40)
        return f"{path}\n  - {'word ' * 30}\nDrawn in {'far/' * 30}figure.png"

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(studies, "diagnose_run", diagnose_run)
    code, out, err = run(capsys, "diagnose", "run", "r", "--probe")
    assert code == 0
    said = [line for line in err.splitlines() if line.startswith("steps of the probe: ")]
    assert said[0].endswith("most of a minute")
    assert said[1:] == [f"steps of the probe: {n} of 40" for n in range(4, 41, 4)]
    lines = out.splitlines()
    assert lines[:2] == ["r", "  - " + "word " * 14 + "word"]
    assert lines[2] == "    " + "word " * 14 + "word"
    assert lines[-1] == f"{'far/' * 30}figure.png"  # whole, to be clicked
    assert run(capsys, "diagnose", "run", "r")[2] == ""


def test_the_help_of_a_group_is_its_commands(capsys):
    code, out, _ = run(capsys, "diagnose", "--help")
    assert code == 0
    words = [line.split()[-1] for line in out.splitlines()]
    assert len(words) == 3
    assert "usage: optix-tricks diagnose run RUN" in out
