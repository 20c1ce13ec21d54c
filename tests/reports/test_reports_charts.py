"""The numbers that the page's script draws are those of the rows."""

import json

import numpy as np
import pytest
from test_report_page import PER_EPOCH, RESULT, Page, html_of, make_rows, write_run

from optix_tricks.reports import read_run
from optix_tricks.reports._charts import MOST_ROWS, run_charts


def charts_of(path):
    return json.loads(Page(html_of(path)).scripts[0])


def lines_of(data, title):
    (chart,) = [chart for chart in data["charts"] if chart["title"] == title]
    return {line["label"]: line for line in chart["lines"]}


def test_every_row_is_there_to_five_digits(tmp_path):
    rows = make_rows(3)
    rows[7]["loss"] = None
    data = charts_of(write_run(tmp_path, rows, result=RESULT))
    loss = lines_of(data, "Loss")
    train = [row for row in rows if row["kind"] == "train"]
    test = [row for row in rows if row["kind"] == "test"]
    assert loss["train"]["values"][7] is None
    del train[7], loss["train"]["values"][7]
    np.testing.assert_allclose(
        loss["train"]["values"], [row["loss"] for row in train], rtol=1e-4
    )
    np.testing.assert_allclose(
        lines_of(data, "Accuracy, %")["test"]["values"],
        [100 * row["accuracy"] for row in test],
        rtol=1e-4,
    )
    of_test = data["rows"][loss["test"]["rows"]]
    assert of_test == {
        "step": [20, 40, 60], "epoch": [1, 2, 3], "seconds": [20, 40, 60],
    }  # fmt: skip


def test_seconds_are_spread_between_tests_and_go_on_after_the_last(tmp_path):
    rows = [{"kind": "train", "step": step, "loss": 1.0} for step in range(1, 7)]
    rows += [{"kind": "test", "step": 2, "seconds": 10.0, "loss": 1.0}]
    rows += [{"kind": "test", "step": 4, "seconds": 14.0, "loss": 1.0}]
    train = run_charts(read_run(write_run(tmp_path, rows)))["rows"][0]
    assert train["seconds"] == [5, 10, 12, 14, 16, 18]


def test_an_axis_that_not_all_rows_have_is_not_offered(tmp_path):
    rows = [{"kind": "train", "step": step, "loss": 1.0} for step in range(1, 7)]
    assert charts_of(write_run(tmp_path, rows))["axes"] == ["step"]
    (tmp_path / "two").mkdir()
    assert charts_of(write_run(tmp_path / "two", make_rows(2)))["axes"] == [
        "step", "epoch", "seconds",
    ]  # fmt: skip


def test_of_many_rows_each_stretch_keeps_its_extremes(tmp_path):
    rows = make_rows(2 * MOST_ROWS // PER_EPOCH)
    rows[100]["loss"] = 1e6
    data = run_charts(read_run(write_run(tmp_path, rows)))
    train = lines_of(data, "Loss")["train"]
    loss = [row["loss"] for row in rows if row["kind"] == "train"]
    assert max(train["high"]) == 1e6
    assert min(train["low"]) == pytest.approx(min(loss), rel=1e-4)
    assert np.mean(train["values"]) == pytest.approx(np.mean(loss), rel=1e-3)
    sizes = {len(train[name]) for name in ("values", "low", "high")}
    assert sizes == {len(data["rows"][0]["step"])}
    assert len(train["values"]) < MOST_ROWS
