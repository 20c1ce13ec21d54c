"""Norms of layers on the page, and the step to which they tend."""

import json
import math

import numpy as np
import pytest
from test_report_page import Page, html_of, make_rows, write_run

from optix_tricks.reports import ReportError, read_run
from optix_tricks.reports._charts import run_charts
from optix_tricks.reports._layers import said_of_steps, tended_to

MOMENTUM = [["momentum", {"momentum": 0.9}], ["l2", {"weight_decay": 5e-4}]]
LAYERS = [
    {"name": "conv/kernel", "shape": [3, 3, 1, 8], "start": 2.0, "end": 3.0},
    {"name": "<b>", "shape": [], "start": 0.0, "end": 0.5},
]


def with_decay(path, tricks):
    rows = make_rows(3)
    for row in rows:
        row |= {"momentum": 0.9, "weight_decay": 5e-4}
    return write_run(path, rows, config={"tricks": tricks})


def test_each_layer_has_its_norms(tmp_path):
    run = write_run(tmp_path, make_rows(1))
    (run / "layers.json").write_text(json.dumps({"layers": LAYERS}))
    rows = Page(html_of(run)).rows
    assert ["conv/kernel", "3 × 3 × 1 × 8", "2", "3", "1.5"] in rows
    assert ["<b>", "–", "0", "0.5", "–"] in rows


@pytest.mark.parametrize("broken", [{}, {"layers": [{"name": "a"}]}, {"layers": [3]}])
def test_broken_ones_are_named(tmp_path, broken):
    run = write_run(tmp_path, make_rows(1))
    (run / "layers.json").write_text(json.dumps(broken))
    with pytest.raises(ReportError, match=r"layers\.json lacks"):
        read_run(run)


def test_the_equilibrium_is_that_of_rate_decay_and_momentum(tmp_path):
    run = read_run(with_decay(tmp_path, MOMENTUM))
    rate = run.train["learning_rate"]
    wanted = [math.sqrt(2 * x * 5e-4 / (1 + 0.9)) if x else math.nan for x in rate]
    np.testing.assert_allclose(tended_to(run), wanted, rtol=1e-3)
    norms = next(c for c in run_charts(run)["charts"] if c["title"] == "Norms")
    assert "equilibrium" in [line["label"] for line in norms["lines"]]
    late = [x for x in wanted[30:] if not math.isnan(x)]
    assert f"tend to {np.median(late):.2g} (" in said_of_steps(run)


@pytest.mark.parametrize("tricks", [[], MOMENTUM[:1], [["adam", {}], MOMENTUM[1]]])
def test_without_a_theory_nothing_is_said(tmp_path, tricks):
    run = read_run(with_decay(tmp_path, tricks))
    assert np.isnan(tended_to(run)).all()
    assert said_of_steps(run) == ""
