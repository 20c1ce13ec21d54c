"""Runs beside each other: what differs, what came out, a line each."""

import json

import pytest
from PIL import Image
from test_report_page import RESULT, Page, make_rows, write_run

from optix_tricks.reports import ReportError, read_run, write_comparison
from optix_tricks.reports._compare import comparison_of

SGD = [["sgd", {"learning_rate": 0.1}], ["crop", {"padding": 1}]]
ADAM = [["adam", {"learning_rate": 0.1}], ["crop", {"padding": 2}]]


@pytest.fixture
def runs(tmp_path):
    paths = [tmp_path / name for name in ("one", "two", "three <b>")]
    for i, path in enumerate(paths):
        path.mkdir()
        config = {"dataset": "digits", "epochs": 3 + i, "tricks": SGD if i else ADAM}
        result = None if i == 2 else RESULT | {"test_accuracy": 0.9 + i / 100}
        write_run(path, make_rows(3 + i), config=config, result=result)
    (paths[1] / "report.html").write_text("")
    return paths


def page_of(paths):
    runs = [read_run(path) for path in paths]
    return comparison_of(runs, [path.name for path in paths], b"", b"")


def test_the_table_has_what_differs_and_nothing_else(runs):
    rows = Page(page_of(runs)).rows
    start = rows.index(["setting", "one", "two", "three <b>"])
    assert rows[start + 1 :] == [
        ["epochs", "3", "4", "5"],
        ["adam", "taken", "left out", "left out"],
        ["adam.learning_rate", "0.1", "left out", "left out"],
        ["crop.padding", "2", "1", "1"],
        ["sgd", "left out", "taken", "taken"],
        ["sgd.learning_rate", "left out", "0.1", "0.1"],
    ]


def test_final_numbers_stand_beside_each_other(runs):
    page = Page(page_of(runs))
    assert ["test accuracy", "90.00 %", "91.00 %", "97.00 %"] in page.rows
    assert ["finished", "yes", "yes", "no"] in page.rows
    assert "../two/report.html" in page.links


def test_a_chart_a_quantity_and_a_line_a_run(runs):
    data = json.loads(Page(page_of(runs)).scripts[0])
    charts = {chart["title"]: chart["lines"] for chart in data["charts"]}
    assert {"Test loss", "Test accuracy, %", "Train loss"} <= charts.keys()
    assert "Validation loss" not in charts
    lines = charts["Test accuracy, %"]
    assert [line["label"] for line in lines] == ["one", "two", "three <b>"]
    steps = [data["rows"][line["rows"]]["step"] for line in lines]
    assert [len(x) for x in steps] == [3, 4, 5]
    assert lines[1]["values"] == pytest.approx([97 / 4, 97 / 2, 97 * 3 / 4, 97])


def test_it_is_written_into_the_first_run(runs):
    page = write_comparison([*map(str, runs[:2])])
    assert page == runs[0] / "comparison.html"
    with Image.open(runs[0] / "figures" / "comparison.png") as image:
        assert image.width > 1000
    with pytest.raises(ReportError, match="two runs or more, got 1"):
        write_comparison([runs[0]])
    with pytest.raises(ReportError, match="is not a run's directory"):
        write_comparison([runs[0], "no/such"])
