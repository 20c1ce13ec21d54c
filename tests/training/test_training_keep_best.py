"""A run that keeps its best checkpoint by the validation split, beside the newest."""

import warnings

import chex
import jax
import numpy as np
import pytest

from optix_tricks.runs import load_run
from optix_tricks.training import (
    CheckpointError,
    Checkpoints,
    DamagedCheckpoint,
    RunDirectory,
    early_stopping,
    load_params,
    split_validation,
    train,
)
from optix_tricks.training import _loop as loop
from optix_tricks.training._epoch import Evaluation
from optix_tricks.training._watch import Choice
from tests.cli.command import run as command
from tests.training.toy_runs import linear_job, start, toy_dataset

SCORES = [0.2, 0.6, 0.5, 0.6, 0.1, 0.4]  # of each epoch: the best is the second
EPOCHS, BEST = len(SCORES), 2


def data():
    return split_validation(toy_dataset(), 0.2, seed=0)


@pytest.fixture
def scripted(monkeypatch):
    """Runs whose validation rows are given."""

    def evaluate_of(self, *, views=True, confusion=False, mesh=None):
        def evaluate(state, batch):
            score = SCORES[-(-int(state.step) // 4) - 1]
            return Evaluation(1 - score, {"accuracy": score}, batch.size)

        return evaluate

    monkeypatch.setattr(loop.Job, "make_evaluate", evaluate_of)
    return lambda **changes: linear_job(epochs=EPOCHS, **changes)


def kept(path):
    return sorted(int(x.name) for x in (path / "checkpoints").iterdir())


@pytest.mark.parametrize("metric", ["accuracy", "min:loss"])
def test_the_best_is_kept_and_the_run_ends_with_its_last(tmp_path, scripted, metric):
    path = tmp_path / "run"
    with start(path) as run:
        state, result = train(scripted(keep_best=metric), data(), run)
    assert kept(path) == [BEST, EPOCHS - 1, EPOCHS]
    assert (result.kept_epoch, result.best_epoch, int(state.step)) == (BEST, None, 24)
    assert result.test.metrics["accuracy"] == SCORES[-1]
    with start(tmp_path / "short") as run:
        want, _ = train(scripted()._replace(epochs=BEST), data(), run)
    best = load_params(path / "checkpoints" / str(BEST))["params"]
    np.testing.assert_array_equal(best["kernel"], want.params["kernel"])


def test_a_direction_may_be_said(tmp_path, scripted):
    with start(tmp_path / "run") as run:
        train(scripted(keep_best="min:accuracy"), data(), run)
    assert kept(tmp_path / "run") == [5, 6]
    said = {
        "val_error": "min",
        "loss": "min",
        "r_squared": "max",
        "top_5_accuracy": "max",
    }
    assert {name: Choice.of(name).mode for name in said} == said


class Crash(Exception):
    """Of a machine."""


@pytest.mark.parametrize("damage", [None, BEST, 4])
def test_a_run_that_is_resumed_keeps_the_best_that_is_left(
    tmp_path, scripted, monkeypatch, damage
):
    """It dies in its fifth epoch; if the best is damaged, the next is the fourth."""
    path, job = tmp_path / "run", scripted(keep_best="accuracy")

    def end_epoch(self, number, *rows):
        if number == 4:
            raise Crash

    with start(path) as run, monkeypatch.context() as patch:
        patch.setattr(loop.Progress, "end_epoch", end_epoch)
        with pytest.raises(Crash):
            train(job, data(), run)
    assert kept(path) == [BEST, 3, 4]
    if damage:
        (path / "checkpoints" / str(damage) / "default" / "manifest.ocdbt").write_bytes(
            b""
        )
    with (
        RunDirectory.reopen(path)[0] as run,
        warnings.catch_warnings(record=True) as said,
    ):
        warnings.simplefilter("always")
        _, result = train(job, data(), run, resume=True)
    said = [str(x.message) for x in said if x.category is DamagedCheckpoint]
    wanted = {
        None: [],
        BEST: ["checkpoint 2, the best by accuracy, is damaged or gone: the best that is"
               " left is 4"],
        4: ["checkpoint 4 is damaged (manifest.ocdbt); going on from 3"],
    }[damage]  # fmt: skip
    assert said == wanted
    assert result.kept_epoch == (4 if damage == BEST else BEST)
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.is_sound(int(result.kept_epoch))
    assert kept(path) == [int(result.kept_epoch), 5, 6]


def test_what_cannot_be_chosen_is_refused(tmp_path):
    job = linear_job(keep_best="accuracy")
    with start(tmp_path / "run") as run:
        with pytest.raises(
            ValueError, match="keeps its best accuracy needs a validation"
        ):
            train(job, toy_dataset(), run)
        stops = job._replace(stop=early_stopping(patience=1))
        with pytest.raises(ValueError, match=r"leave keep_best out, got 'accuracy'\."):
            train(stops, data(), run)


RECIPE = """\
from tests.tricks.toys import Linears, base, dataset

def setup():
    return base(Linears, epochs=4)

def data():
    return dataset(60)
"""


def test_commands_take_the_checkpoint_that_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("optix_tricks.reports.write_report", lambda p: p / "report.html")
    (tmp_path / "mine.py").write_text(RECIPE)
    words = ["--validation", "0.2", "--seed", "1", "--run-dir", "r"]
    code, _, said = command(capsys, "train", "mine.py", *words, "--keep-best", "top")
    assert (code, said) == (
        2,
        "error: keep_best must be a metric of the run, loss or accuracy, got 'top'.\n",
    )
    code, out, said = command(capsys, "train", "mine.py", *words, "--keep-best", "loss")
    assert code == 0, said
    rows = load_run("r").restored.run.validation
    best = int(rows["epoch"][np.argmin(rows["loss"])])
    assert f"after epoch {best}, by loss" in out
    run, newest = load_run("r", checkpoint="best"), load_run("r")
    assert (run.epoch, newest.epoch) == (best, 4)
    wanted = load_params(f"r/checkpoints/{best}")["params"]
    chex.assert_trees_all_equal(
        *(jax.tree.leaves(x) for x in (run.restored.state.params, wanted))
    )
    np.save("images.npy", run.dataset.test.inputs[:2])
    for name, of in (("best", run), ("3", load_run("r", checkpoint=3))):
        code, out, _ = command(capsys, "evaluate", "r", "--checkpoint", name)
        assert (code, f"{of.evaluate().loss:.4f} of 20" in out) == (0, True)
        code, out, _ = command(
            capsys, "predict", "r", "images.npy", "--json", "--checkpoint", name
        )
        z = np.exp(of.predict(of.dataset.test.inputs[:1])[0])
        assert f'"probability": {z.max() / z.sum():.4f}'[:-1] in out
    code, _, said = command(capsys, "evaluate", "r", "--checkpoint", "9")
    assert (code, "no complete checkpoint of epoch 9" in said) == (1, True)
    code, _, said = command(capsys, "evaluate", "r", "--checkpoint", "last")
    assert (code, "checkpoint must be newest, best or the number" in said) == (1, True)
    manifest = tmp_path / "r" / "checkpoints" / str(best) / "default" / "manifest.ocdbt"
    manifest.write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=rf"checkpoint {best} is damaged \(manifest"
    ):
        load_run("r", checkpoint="best")
