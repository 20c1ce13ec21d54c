"""The command line as a user meets it: what it prints and how it ends."""

import os
import re
import subprocess
import sys

import pytest

from optix_tricks import __version__, cli
from optix_tricks.cli._list import claims
from optix_tricks.recipes import RECIPES, find_recipe
from tests.cli.command import FAST, run


def test_list_says_claim_source_and_cost_of_every_recipe(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert {name: find_recipe(name).claim._asdict() for name in RECIPES} == claims()
    for name in RECIPES:
        assert f" {name} " in out
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
        (["report"], 2, "report takes the directory of a run, or of several"),
        (["report", "--width"], 2, "--width"),
        (["new", "a.txt"], 2, "new takes one file, mine.py, got a.txt"),
        (["list", "all"], 2, "all"),
        (["predict", "nowhere", "--distributed"], 2, "runs in one process"),
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


def test_alone_it_teaches_in_twenty_lines(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) <= 20
    assert max(map(len, out.splitlines())) <= 80
    named = re.findall(r"^  optix-tricks (.*?)(?:  |$)", out, re.MULTILINE)
    assert named[0] == "train digits"
    assert {words.split()[0] for words in named} <= {x.split()[0] for x in cli.COMMANDS}


@pytest.mark.parametrize("name", cli.COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help_within_80_columns(capsys, monkeypatch, name, flag):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(capsys, *name.split(), flag)
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: optix-tricks {name}")
    assert "--debug" in out
    _usage, *lines = out.splitlines()  # which tyro leaves to the terminal to fold
    assert max(map(len, lines)) <= 80


def test_versions(capsys):
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert re.fullmatch(rf"optix-tricks {__version__}, jax [\d.]+, .*Python 3.*\n", out)


def test_a_shell_completes_commands_flags_choices_and_tricks(capsys, tmp_path):
    code, out, _ = run(capsys, "completion", "bash")
    assert code == 0
    script = tmp_path / "completion.bash"
    script.write_text(out)
    function = re.search(r"complete .*-F (\w+) ", out)[1]
    for words, wanted in (
        ("tr", {"train", "tricks"}),
        ("train --lay", {"--layout"}),
        ("train digits --layout z", {"zero1"}),
        ("train digits --with mixu", {"mixup"}),
        ("sweep digits --without label_s", {"label_smoothing"}),
        ("diagnose cur", {"curvature"}),
        ("runs --so", {"--sort"}),
    ):
        line = ["optix-tricks", *words.split()]
        asked = (
            f"source {script}; COMP_WORDS=({' '.join(line)}); COMP_CWORD={len(line) - 1};"
            f"COMP_LINE='{' '.join(line)}'; COMP_POINT=${{#COMP_LINE}};"
            f'{function} 2>/dev/null; printf "%s\\n" "${{COMPREPLY[@]}}"'
        )
        bash = ["bash", "-c", asked]
        done = subprocess.run(bash, capture_output=True, text=True, check=False)
        assert {*done.stdout.split()} == wanted, (words, done)


def test_help_and_list_start_without_jax():
    code = (
        "import sys\n"
        "from optix_tricks.cli import main\n"
        "runs = ['runs', sys.argv[1]]\n"
        "for words in ([], ['--help'], ['list'], runs, ['train', '-h']):\n"
        "    try: main(words)\n"
        "    except SystemExit as stop: assert not stop.code\n"
        "print([x for x in ('jax', 'numpy', 'flax') if x in sys.modules])"
    )
    python = [sys.executable, "-c", code, "tests/runs/landed"]
    done = subprocess.run(python, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_a_pipe_that_nobody_reads_ends_it_without_a_word(argument):
    read, write = os.pipe()
    os.close(read)
    line = [sys.executable, "-m", "optix_tricks", argument]
    done = subprocess.run(line, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
