"""`optix-tricks ablate` and `sweep`, on a network that trains in a second."""

import json

import pytest

from optix_tricks.cli._sweep import _axes
from tests.cli.command import run

OWN = """
from optix_tricks import tricks

def setup():
    return tricks.Setup(epochs=1, batch_size=256).take(
        tricks.mlp(width=8), tricks.sgd(0.5), tricks.label_smoothing(0.1)
    )
"""


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    return str(file)


def test_ablate_measures_resumes_and_measures_nothing_twice(own, capsys, tmp_path):
    path = tmp_path / "ledger"
    begun = ["ablate", own, "--tricks", "warm_up,sgd=1e-9,label_smoothing"]
    more = ["--seeds", "3", "--no-costs", f"--run-dir={path}"]
    code, out, err = run(capsys, *begun, "--budget", "0", *more)
    assert code == 0, err
    assert "3 comparisons" in out
    assert out.count("not measured") == 3
    assert (path / "ledger.jsonl").read_text() == ""
    code, out, err = run(capsys, *begun, *more)
    assert code == 0, err
    assert "+sgd" in out
    assert "at most" in out
    rows = (path / "ledger.jsonl").read_text()
    assert rows.count('"kind": "run"') == 12
    code, out, err = run(capsys, "ablate", "--resume", str(path))
    assert code == 0, err
    assert "training 1 of" not in out
    assert (path / "ledger.jsonl").read_text() == rows
    summary = json.loads((path / "ledger.json").read_text())
    assert [row["name"] for row in summary["rows"]] == [
        "+warm_up",
        "+sgd",
        "-label_smoothing",
    ]
    assert summary["rows"][1]["loss"]["mean"] > 0
    assert "ledger.html" in out.replace("\n", "")
    assert "label_smoothing" in (path / "ledger.html").read_text()


def test_sweep_trains_each_combination_and_chooses_on_validation(own, capsys, tmp_path):
    path = tmp_path / "sweep"
    code, out, err = run(
        capsys, "sweep", own, "--learning-rate", "1e-9,1", "--seeds", "2",
        "--label-smoothing=0,0.1", "--run-dir", str(path),
    )  # fmt: skip
    assert code == 0, err
    assert "4 combinations, 2 seeds; 144 validation examples choose" in " ".join(
        out.split()
    )
    found = json.loads((path / "sweep.json").read_text())
    assert found["axes"] == {"learning_rate": [1e-9, 1.0], "label_smoothing": [0.0, 0.1]}
    assert found["chosen_by"] == "validation_accuracy"
    assert sum(found["best_in"][2:]) == 1.0
    assert len(found["test_accuracy"]) == 4
    assert (path / "figures" / "sweep.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ablate"], "ablate needs a recipe"),
        (["ablate", "digits", "--tricks", "mixupp"], "there is no trick 'mixupp'"),
        (["ablate", "digits", "--tricks", "nesterov"], "no training without nesterov"),
        (["ablate", "digits", "--seeds", "1"], "--seeds must be"),
        (
            ["ablate", "digits", "--tricks", "crop", "--add"],
            "there is no trick to compare",
        ),
        (["ablate", "--resume", "nowhere"], "--resume nowhere is no ledger"),
        (["ablate", "digits", "--resume", "nowhere"], "stands alone"),
        (["sweep", "digits"], "sweep needs a number with several values"),
        (["sweep", "digits", "--learning-rate", "1:2"], "learning_rate must be values"),
        (["sweep", "digits", "--heat", "1,2"], "there is no number 'heat'"),
        (["sweep", "digits", "--seeds", "0", "--crop", "1,2"], "--seeds must be"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in " ".join(err.split())
    assert not [*tmp_path.iterdir()]


def test_flags_with_several_values_are_told_from_others():
    axes, rest = _axes(
        ["digits", "--learning-rate", "0.1,0.2", "--epochs=3", "--sam.rho=.05:.2:log:3",
         "--with", "mixup=0.2", "--run-dir", "a,b", "--data-dir", "c:d"]
    )  # fmt: skip
    assert axes == {"learning_rate": "0.1,0.2", "sam.rho": ".05:.2:log:3"}
    assert rest == [
        "digits", "--epochs=3", "--with", "mixup=0.2", "--run-dir", "a,b",
        "--data-dir", "c:d",
    ]  # fmt: skip
