"""Rows of metrics that are gone: said in one sentence, and never another result."""

import shutil

import chex
import optax
import pytest

from optix_tricks.cli._warnings import plain_warnings
from optix_tricks.training import (
    LostRows,
    RunDirectory,
    RunError,
    early_stopping,
    scale_rate,
    split_validation,
    train,
)
from optix_tricks.training._resuming import check_rows
from tests.training.toy_runs import linear_job, start, toy_dataset


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """A run of two of four epochs, and the state of all four."""
    path = tmp_path_factory.mktemp("rows") / "run"
    with start(path) as run:
        train(linear_job(epochs=2), toy_dataset(), run)
    with start(path.with_name("whole")) as run:
        state, _ = train(linear_job(epochs=4), toy_dataset(), run)
    return path, state


def go_on(path, job, data=None):
    with RunDirectory.reopen(path)[0] as run:
        return train(job, data or toy_dataset(), run, resume=True)[0]


def delete(path):
    path.unlink()


def shorten(path):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]))


DAMAGES = {"is gone": delete, "ends at step 3": shorten}


@pytest.mark.parametrize("said", DAMAGES)
def test_a_run_goes_on_to_the_same_weights_and_says_what_is_lost(halfway, tmp_path, said):
    there, wanted = halfway
    path = shutil.copytree(there, tmp_path / "run")
    DAMAGES[said](path / "metrics.jsonl")
    with pytest.warns(
        LostRows, match=f"run/metrics.jsonl {said}: its rows up to step 10"
    ):
        state = go_on(path, linear_job(epochs=4))
    chex.assert_trees_all_equal(state.params, wanted.params)


@pytest.mark.parametrize("said", DAMAGES)
def test_it_does_not_where_the_end_follows_from_the_rows(tmp_path, said):
    path, data = tmp_path / "run", split_validation(toy_dataset(), 0.2, seed=0)
    job = linear_job(epochs=2, tx=optax.chain(optax.sgd(0.01), scale_rate()))
    stops = job._replace(stop=early_stopping(patience=5))
    with start(path) as run:
        train(stops, data, run)
    DAMAGES[said](path / "metrics.jsonl")
    wanted = rf"metrics\.jsonl {said}, and how .* follows from its rows: put it back"
    for each in (stops, job._replace(keep_best="accuracy"), job._replace(restores=3)):
        with pytest.raises(RunError, match=wanted):
            go_on(path, each._replace(epochs=4), data)


def test_the_command_line_says_it_in_one_line(capsys, tmp_path):
    with plain_warnings():
        check_rows(tmp_path, 7, [], decide=False)
    assert capsys.readouterr().err == (
        f"warning: {tmp_path}/metrics.jsonl is gone: its rows up to step 7 are lost;"
        " going on from there to the same weights\n"
    )
