"""Run directories of any name that a file system takes, and one that is reached oddly."""

import os

import chex
import pytest

from optix_tricks.reports import _page, write_report
from optix_tricks.training import RunDirectory, RunError, load_params, train
from tests.training.toy_runs import linear_job, start, toy_dataset

NAMES = [
    "with space",
    "new\nline",
    "naïve-名前-\U0001f331",
    "*",
    "-",
    "~",
    "a" * 255,
    "<b>&amp;",
    "..and/.more",
    "{0}%s",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_lives_in_a_directory_of_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_page, "plot_curves", lambda run, *, dark: None)
    monkeypatch.setattr(_page, "png", lambda figure: b"a figure")
    with start(name) as run:
        train(linear_job(epochs=1), toy_dataset(), run)
    with RunDirectory.reopen(name)[0] as run:
        state, _ = train(linear_job(epochs=2), toy_dataset(), run, resume=True)
    chex.assert_trees_all_equal(load_params(name)["params"], state.params)
    assert write_report(name).is_file()


def test_a_name_with_a_byte_that_is_no_text_is_refused(tmp_path):
    said = r"run directory '.*\\udcff' has a byte that is no UTF-8, .* name another"
    with pytest.raises(RunError, match=said):
        start(tmp_path / "\udcff")
    assert os.listdir(tmp_path) == []
