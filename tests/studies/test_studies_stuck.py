"""A run's directory becomes a diagnosis in words and a figure."""

import math

import pytest

from optix_tricks.reports import ReportError
from optix_tricks.studies import diagnose_run
from optix_tricks.training import RunDirectory
from tests.training.toy_runs import run_whole


def test_a_real_run(tmp_path):
    run_whole(tmp_path / "run")
    path = tmp_path / "run"
    first, second, *rest = diagnose_run(path).splitlines()
    assert first == f"{path} (cifar10_resnet9, 15 rows)"
    assert second.startswith("undecided (score 0.00)")
    assert rest[0] == "  - There are 15 rows with a finite loss; 30 are needed."
    assert rest[-1] == f"Drawn in {path / 'figures' / 'diagnosis.png'}"
    assert (path / "figures" / "diagnosis.png").stat().st_size > 10_000


def test_columns_of_training_and_test_and_the_batch_size_are_used(tmp_path):
    path = tmp_path / "run"
    rows = [
        {
            "kind": "train",
            "step": step,
            "loss": math.exp(-step / 50),
            "accuracy": min(1.0, step / 100),
            "noise_scale": 2.0,
        }
        for step in range(1, 201)
    ]
    rows += [
        {"kind": "test", "step": step, "loss": 1 + step / 100, "accuracy": 0.5}
        for step in range(20, 201, 20)
    ]
    config = {"batch_size": 4096}
    with RunDirectory.start(path, recipe="digits", config=config) as directory:
        directory.append_metrics(rows)
    text = diagnose_run(path)
    assert "over-fitting (score 1.00)" in text
    assert "Accuracy is 50.0% higher in training than in the test." in text


def test_no_run_is_one_sentence(tmp_path):
    with pytest.raises(ReportError, match="is not a run's directory"):
        diagnose_run(tmp_path)


def test_a_run_without_rows_has_no_loss(tmp_path):
    path = tmp_path / "run"
    with RunDirectory.start(path, recipe="digits", config={}):
        pass
    with pytest.raises(ValueError, match="column 'loss'"):
        diagnose_run(path)
