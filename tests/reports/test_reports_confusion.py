"""The matrix of a page: its cells and shades, and the commonest mistakes."""

import json
import re

import numpy as np
import pytest

from optix_tricks.reports import ReportError, read_run, write_report
from optix_tricks.reports._confusion import confusion_table


def table(counts, names=None):
    names = names or [f"<{i}>" for i in range(len(counts))]
    return confusion_table({"classes": names, "counts": np.array(counts)})


def test_each_class_has_its_row_and_names_are_escaped():
    html = table([[8, 2], [0, 1000]], ["a & b", "<c>"])
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    assert len(rows) == 3
    assert "a &amp; b" in rows[1]
    assert "&lt;c&gt;" in rows[2]
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in rows[1:]]
    assert cells == [["8", "2"], ["", "1,000"]]
    right = re.findall(r"<strong>(.*?)</strong>", html)
    assert right == ["80.0 %", "100.0 %"]
    shades = re.findall(r"var\(--(\w+)\) (\d+)%", html)
    assert shades == [("right", "56"), ("mark", "31"), ("right", "70")]  # 0.7 sqrt(0.2)


def test_of_many_classes_the_commonest_mistakes_are_told():
    counts = 50 * np.eye(30, dtype=int)
    counts[3, 7], counts[9, 1] = 5, 12
    html = table(counts, list(map(str, range(30))))
    rows = re.findall(r"<tr><td>(.*?)</td></tr>", html)
    found = [row.split("</td><td>") for row in rows]
    assert found[:2] == [["9", "1", "12 of 62"], ["3", "7", "5 of 55"]]
    assert found[2:4] == [["9", "80.6 %", "62"], ["3", "90.9 %", "55"]]


@pytest.fixture
def run(tmp_path):
    config = {"recipe": "x", "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "environment.json").write_text("{}")
    return tmp_path


def test_the_page_has_the_table_where_there_is_a_matrix(run):
    head = "What the final test took for what"
    assert head not in write_report(run).read_text()
    found = {"classes": ["a", "b"], "counts": [[3, 1], [0, 2]]}
    (run / "confusion.json").write_text(json.dumps(found))
    assert head in write_report(run).read_text()


@pytest.mark.parametrize(
    "found",
    [
        {"classes": ["a"], "counts": [[1, 2]]},
        {"classes": ["a"], "counts": [[-1]]},
        {"classes": ["a"], "counts": [["x"]]},
        {"classes": 3, "counts": [[1]]},
        {"counts": [[1]]},
        {"classes": ["a"], "counts": [[10**30]]},
    ],
)
def test_a_broken_matrix_is_named(run, found):
    (run / "confusion.json").write_text(json.dumps(found))
    with pytest.raises(ReportError, match=r"confusion\.json lacks"):
        read_run(run)
