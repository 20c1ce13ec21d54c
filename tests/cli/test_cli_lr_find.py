"""What `optix-tricks lr-find` shows of a study, whose numbers are given here."""

import re
import types

import pytest

from optix_tricks import studies
from optix_tricks.cli import _lr_find as command
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
    found = {
        "steepest": types.SimpleNamespace(rate=0.25, standard_error=0.3, reason=""),
        "valley": types.SimpleNamespace(rate=0.0, standard_error=0.0, reason="no valley"),
    }
    suggestions = types.SimpleNamespace(_asdict=lambda: found)

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
    assert str(tmp_path / "r" / "figures" / "range_test.png") in words
