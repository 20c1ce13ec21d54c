"""Rows handed on as they are written, to trackers of experiments."""

import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from optix_tricks.training import RunDirectory, train
from tests.training.toy_runs import linear_job, start, toy_dataset

PAGE = Path(__file__).parents[2] / "docs" / "beside.md"
DATA = toy_dataset()


def begin(path, on_row):
    return RunDirectory.start(path, recipe="toy", config={}, on_row=on_row)


def test_each_row_is_handed_on_once_in_its_order(tmp_path):
    first, later = [], []
    with begin(tmp_path / "run", first.append) as run:
        train(linear_job(epochs=2), DATA, run)
    assert [row["kind"] for row in first] == 2 * (5 * ["train"] + ["test"])
    run, _, _ = RunDirectory.reopen(tmp_path / "run", on_row=later.append)
    with run:
        train(linear_job(epochs=3), DATA, run, resume=True)
        assert first + later == run.read_metrics()
    assert [row["step"] for row in later] == [11, 12, 13, 14, 15, 15]


def test_a_row_is_on_the_disk_before_and_as_it_is(tmp_path):
    seen = []

    def look(row):
        seen.append((row, run.read_metrics()[-1]))

    with begin(tmp_path / "run", look) as run:
        run.append_metrics([{"kind": "test", "step": 1, "loss": math.nan}])
    ((row, there),) = seen
    assert math.isnan(row["loss"])
    assert there["loss"] is None


def test_what_it_raises_ends_the_run_which_goes_on(tmp_path):
    def refuse(row):
        if row["step"] == 10:
            raise ConnectionError("no tracker")

    with begin(tmp_path / "run", refuse) as run, pytest.raises(ConnectionError):
        train(linear_job(), DATA, run)
    with RunDirectory.reopen(tmp_path / "run")[0] as run:
        train(linear_job(), DATA, run, resume=True)
        rows = run.read_metrics()
    with start(tmp_path / "whole") as run:
        train(linear_job(), DATA, run)
        untouched = run.read_metrics()
    assert [{**row, "seconds": 0} for row in rows] == [
        {**row, "seconds": 0} for row in untouched
    ]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_the_lines_of_the_page_hand_all_numbers_on(name, tmp_path, monkeypatch):
    blocks = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if f"import {name}" in block)
    told = []

    def log(numbers, step=None):
        told.append((step, numbers))

    fake = SimpleNamespace(
        init=lambda project: None,
        start_run=lambda run_name: None,
        log=log,
        log_metrics=log,
    )
    monkeypatch.setitem(sys.modules, name, fake)
    scope = {}
    exec(block, scope)
    with begin(tmp_path / "run", scope["log"]) as run:
        train(linear_job(epochs=1), DATA, run)
        rows = run.read_metrics()
    assert [step for step, _ in told] == [row["step"] for row in rows]
    numbers = told[-1][1]
    assert numbers["test/loss"] == rows[-1]["loss"]
    assert {"train/loss", "train/accuracy", "train/gradient_norm"} <= told[0][1].keys()
    assert all(isinstance(x, float) for x in numbers.values())
