"""The experiments on weight decay, at toy size."""

import dataclasses

import pytest

from optix_tricks.studies import run_study
from optix_tricks.training import RunDirectory
from tests.studies.toy_study import TOY


def test_an_unknown_part_is_refused(tmp_path, digits):
    with (
        RunDirectory(tmp_path) as run,
        pytest.raises(ValueError, match=r"schedules, constant, .*got 'plots'"),
    ):
        run_study(TOY, digits, run, parts=["plots"])


@pytest.mark.slow
def test_the_whole_study_runs_and_goes_on(tmp_path, digits):
    config = dataclasses.replace(TOY, batch_size=128, constant_steps=22)
    with RunDirectory(tmp_path) as run:
        found = run_study(config, digits, run)
    assert list(found) == [
        *("schedules", "constant", "gradients", "lars", "batch", "rates"),
    ]
    assert [len(table) for table in found["rates"]["networks"].values()] == [7] * 4
    lines = (tmp_path / "trainings.jsonl").read_text().splitlines()
    assert len(lines) == 4 + 6 - 2 + 4 * 7  # two of lars serve batch too
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {
        f"{name}.png" for name in ("sgd", "momentum", "constant", "rates", "rates_smooth")
    }
