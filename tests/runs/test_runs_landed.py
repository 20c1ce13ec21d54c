"""A run as an earlier version left it: two epochs of digits, a network of width two."""

import json
import shutil
from pathlib import Path

import pytest

from optix_tricks.cli import main
from optix_tricks.runs import load_run
from optix_tricks.training import load_params

LANDED = Path(__file__).parent / "landed"


@pytest.fixture
def landed(tmp_path):
    shutil.copytree(LANDED, tmp_path / "run")
    return tmp_path / "run"


def test_its_page_is_drawn_and_it_is_diagnosed(landed, capsys):
    main(["report", str(landed)])
    assert (landed / "report.html").stat().st_size > 10_000
    main(["diagnose", "run", str(landed)])
    assert "digits" in capsys.readouterr().out


def test_it_is_tested_as_it_was(landed):
    result = json.loads((landed / "result.json").read_text())
    run = load_run(landed)
    assert run.epoch == 2
    test = run.evaluate()
    assert test.metrics["accuracy"] == pytest.approx(result["test_accuracy"], abs=1e-6)
    assert test.loss == pytest.approx(result["test_loss"], rel=1e-5)


def test_its_arrays_are_read_without_its_network(landed):
    params = load_params(landed)["params"]
    assert params["head"]["kernel"].shape[1] == 10
