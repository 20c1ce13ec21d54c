"""What `optix-tricks lr-find` shows of a study, whose numbers are given here."""

import json
import re
import types
from html import escape

import numpy as np
import pytest

from optix_tricks import studies
from optix_tricks.cli import _lr_find as command
from optix_tricks.cli._settings import settings_of
from optix_tricks.dynamics import (
    RangeTest,
    RateSuggestion,
    RateSuggestions,
    suggest_learning_rates,
)
from optix_tricks.reports._range_page import write_range_page
from optix_tricks.studies._learning_rate import advice
from tests.cli.command import run


@pytest.fixture
def bars(monkeypatch):
    """Bars that are still there at the end."""
    made = []

    class Kept(command.Progress):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(command, "Progress", Kept)
    return made


def test_the_bar_counts_the_steps_of_all_seeds_and_the_table_the_factors(
    bars, monkeypatch, capsys, tmp_path
):
    none = np.zeros(3)
    steepest = RateSuggestion(0.25, 0.3, none, "")
    valley = RateSuggestion(0.0, 0.0, none, "no valley")
    suggestions = RateSuggestions(steepest, RateSuggestion(1.0, 0.1, none, ""), valley)

    def study(*arguments, seeds, steps, on_step, **options):
        for seed in range(seeds):
            for step in range(steps):
                on_step(seed, step)
        return types.SimpleNamespace(suggestions=suggestions)

    monkeypatch.setattr(studies, "find_learning_rate", study)
    monkeypatch.setattr(studies, "write_learning_rate_study", lambda *a, **k: None)
    code, out, err = run(
        capsys, "lr-find", "digits", "--steps", "11", "--seeds", "3",
        "--learning-rate", "0.125", "--run-dir", str(tmp_path / "r"),
    )  # fmt: skip
    assert code == 0, err
    [task] = bars[0].tasks
    assert (task.completed, task.total) == (33, 33)
    assert task.description == "seed 3/3"
    assert re.search(r"steepest\W+0\.25\W+2\.00\W", out)  # 10**0.3
    assert re.search(r"valley\W+undecided\W+no valley\W", out)
    assert re.search(r"the recipe's own\W+0\.125\W", out)
    words = out.replace("\n", "")
    assert str(tmp_path / "r" / "range_test.json") in words
    assert str(tmp_path / "r" / "report.html") in words
    assert "Take 0.25, the steepest: there the loss falls fastest" in " ".join(
        out.split()
    )
    assert "The recipe's own, 0.125, is as good" in " ".join(out.split())
    train = f"optix-tricks train --config {tmp_path / 'r'} --nesterov.learning-rate 0.25"
    assert train in words
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    again, _ = settings_of(
        "train", ["--config", str(tmp_path / "r"), "--nesterov.learning-rate", "0.25"]
    )
    assert again.number("learning_rate") == 0.25
    assert again.as_json() | {"tricks": 0} == config["config"] | {"tricks": 0}


def curve(*, rises=True):
    rates = np.geomspace(1e-4, 10, 51)
    x = np.log10(rates)
    losses = 2 - np.exp(-((x + 1) ** 2)) + rises * np.maximum(x, 0) ** 2
    losses = np.minimum.accumulate(losses) if not rises else losses
    error = np.full(51, np.nan)
    return RangeTest(
        rates, losses[None], losses[None], losses, error, np.array([51]), 0.1
    )


def test_the_page_says_which_to_take_draws_the_curve_and_needs_nothing(tmp_path):
    found = suggest_learning_rates(curve())
    said = advice(found, 0.001)
    assert said.startswith("Take 0.02, the steepest:")
    assert said.endswith("The recipe's own is 0.001.")
    page = write_range_page(tmp_path, curve(), found, title="<digits>", said=said)
    text = page.read_text()
    for words in (escape(said), "&lt;digits&gt;", "<td>0.02</td>", "51 steps of 1 seed,"):
        assert words in text
    assert "http:" not in text
    assert "https:" not in text
    assert text.count("data:image/png;base64,") == 2
    none = advice(suggest_learning_rates(curve(rises=False)), 0.1)
    assert none == "Take none of them yet: the loss never rose again: raise --max-rate."
