"""What a run does between epochs: it validates, stops, restores the best, observes."""

import itertools
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optix_tricks as ot
from optix_tricks.training import (
    CheckpointError,
    Checkpoints,
    Dataset,
    Phase,
    RunDirectory,
    create_state,
    early_stopping,
    load_params,
    split_validation,
    sweep_jobs,
    train,
)
from optix_tricks.training import _feeds as feeds
from optix_tricks.training import _loop as loop
from optix_tricks.training._epoch import Evaluation
from tests.training.events import read_events
from tests.training.toy_runs import linear_job, start, toy_dataset

EPOCHS = 7
BEST, LAST, PATIENCE = 2, 5, 3  # of the run below; the best is not among the newest two
LOSSES = [3.0, 2.0, 2.5, 2.0, 9.0, 2.1, 0.1]  # of each epoch


def data() -> Dataset:
    return split_validation(toy_dataset(), 0.2, seed=0)


def rows_of(path, kind=None):
    rows = [
        json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()
    ]
    return [
        {name: x for name, x in row.items() if name != "seconds"}
        for row in rows
        if kind in (None, row["kind"])
    ]


def test_each_epoch_is_validated_and_the_result_too(tmp_path, capsys):
    dataset = data()
    assert (dataset.train.size, dataset.validation.size) == (64, 16)
    with start(tmp_path / "run") as run:
        state, result = train(linear_job(epochs=2), dataset, run)
    kinds = [row["kind"] for row in rows_of(run.path)]
    assert kinds == [*["train"] * 4, "validation", "test"] * 2
    x = dataset.validation.inputs.reshape(16, -1) / 255
    z = x @ np.asarray(state.params["kernel"], np.float64)
    y = dataset.validation.targets
    loss = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(16), y])
    last = rows_of(run.path, "validation")[-1]
    assert (last["step"], last["epoch"]) == (8, 2)
    assert last["loss"] == pytest.approx(loss, rel=1e-5)
    assert last["accuracy"] == np.mean(z.argmax(axis=1) == y)
    assert result.validation.loss == last["loss"]
    written = json.loads((run.path / "result.json").read_text())
    assert written["validation_loss"] == last["loss"]
    assert written["validation_size"] == 16
    assert "best_epoch" not in written
    said = capsys.readouterr().out
    assert "val loss" in said
    assert f"{loss:.4f}" in said
    (events,) = read_events(run.path / "tensorboard")
    tags = {value.tag for event in events for value in event.summary.value}
    assert {"validation/loss", "validation/accuracy", "test/loss"} <= tags


@pytest.fixture
def scripted(monkeypatch):
    """Runs whose validation losses are given: the weights move, and do not matter."""

    def job(**changes):
        made = linear_job(epochs=EPOCHS, stop=early_stopping(patience=PATIENCE))
        return made._replace(**changes)

    def evaluate_of(self, *, views=True, confusion=False, mesh=None):
        def evaluate(state, batch):
            epoch = -(-int(state.step) // 4)
            loss = LOSSES[epoch - 1] if batch.size == 16 else float(epoch)
            return Evaluation(loss, {}, batch.size)

        return evaluate

    monkeypatch.setattr(loop.Job, "make_evaluate", evaluate_of)
    return job


def without_key(state):
    return state._replace(key=jax.random.key_data(state.key))


def test_a_run_stops_and_ends_with_the_state_of_its_best_epoch(tmp_path, scripted):
    with start(tmp_path / "stops") as run:
        state, result = train(scripted(), data(), run)
    assert [row["epoch"] for row in rows_of(run.path, "validation")] == [1, 2, 3, 4, 5]
    assert (result.epochs, result.steps, result.best_epoch) == (LAST, 4 * LAST, BEST)
    assert (result.validation.loss, result.test.loss) == (2.0, BEST)
    with start(tmp_path / "short") as run:  # what the state was after the best epoch
        want, _ = train(scripted(epochs=BEST, stop=None), data(), run)
    chex.assert_trees_all_equal(*map(without_key, (state, want)))
    saved = load_params(tmp_path / "stops")["params"]
    np.testing.assert_array_equal(saved["kernel"], want.params["kernel"])


def test_a_run_that_never_stops_ends_with_its_best_epoch_too(tmp_path, scripted):
    with start(tmp_path / "run") as run:
        state, result = train(scripted(epochs=3.5), data(), run)
    assert (result.epochs, result.best_epoch, int(state.step)) == (3.5, BEST, 8)
    with start(tmp_path / "last") as run:
        _, result = train(scripted(epochs=1.5), data(), run)
    assert (result.epochs, result.best_epoch) == (1.5, 1.5)


class Crash(Exception):
    """Of a machine."""


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("epoch", [1, BEST + 1, LAST - 1, LAST])
def test_a_run_that_stops_resumes_to_the_same_bits(
    tmp_path, scripted, monkeypatch, epoch, every
):
    """A crash before the checkpoint of an epoch, or at the end; then twice to the end."""
    job = scripted(checkpoint_every=every)
    with start(tmp_path / "whole") as run:
        whole, whole_result = train(job, data(), run)

    def end_epoch(self, number, *rows):
        if number == epoch:
            raise Crash

    def cut(self, last_epoch):
        raise Crash

    with start(tmp_path / "broken") as run, monkeypatch.context() as patch:
        patch.setattr(loop.Progress, "end_epoch", end_epoch)
        patch.setattr(Checkpoints, "cut", cut)
        with pytest.raises(Crash):
            train(job, data(), run)
    for time in range(2):
        if time or epoch == LAST:  # nothing is left to train
            monkeypatch.setattr(feeds, "epoch_of", None)
        with RunDirectory.reopen(tmp_path / "broken")[0] as run:
            resumed, result = train(job, data(), run, resume=True)
        chex.assert_trees_all_equal(*map(without_key, (resumed, whole)))
        assert result._replace(seconds=0) == whole_result._replace(seconds=0)
        assert rows_of(tmp_path / "broken") == rows_of(tmp_path / "whole")


def test_the_best_checkpoint_is_kept_beside_the_newest_and_what_is_later_cut(tmp_path):
    job = linear_job()
    state = create_state(job.params, {}, job.tx, jax.random.key(0))
    kept = []
    with Checkpoints(tmp_path / "checkpoints", keep=2) as checkpoints:
        for epoch, best in enumerate([1, 2, 2, 2, 2, 6], start=1):
            checkpoints.best = best
            checkpoints.save(epoch, state)
            kept.append(checkpoints.epochs())
        assert kept == [[1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [5, 6]]
        checkpoints.cut(5)
        assert checkpoints.epochs() == [5]
        with pytest.raises(CheckpointError, match=r"of epoch 6 in .*: there are 5\."):
            checkpoints.restore(6, state)


def test_a_job_that_stops_needs_a_split_before_anything_is_compiled(tmp_path):
    with start(tmp_path / "run") as run, pytest.raises(ValueError, match="needs a valid"):
        train(linear_job(stop=early_stopping(patience=1)), toy_dataset(), run)


def test_a_plateau_judges_the_validation_loss_once_an_epoch(tmp_path, scripted):
    """Factor 1/2 after two epochs without a better loss, by the rule in plain Python."""
    plateau = ot.reduce_on_plateau(0.5, 2, rtol=0.0, per_step=False)

    def observe(state, loss):
        return state._replace(opt_state=ot.observe_plateau(state.opt_state, loss))

    job = scripted(tx=optax.chain(optax.sgd(0.01), plateau), observe=observe, stop=None)
    with start(tmp_path / "run") as run:
        train(job, data(), run)
    scale, best, bad, want = 1.0, np.inf, 0, []
    for loss in LOSSES:
        want += [scale] * 4
        best, bad = (loss, 0) if loss < best else (best, bad + 1)
        if bad == 2:
            scale, bad = scale / 2, 0
    assert [row["plateau_scale"] for row in rows_of(run.path, "train")] == want
    assert want[-1] == 0.25


@pytest.mark.parametrize("crash", [None, 1])
def test_what_comes_before_the_first_epoch_comes_once(tmp_path, crash, monkeypatch):
    calls = itertools.count()

    def begin(state, batch, on_step):
        assert batch.size == 64
        on_step(next(calls) + 1, 1)
        return state._replace(params={"kernel": jnp.ones_like(state.params["kernel"])})

    job = linear_job(epochs=2, begin=begin, tx=optax.sgd(0.0))
    with start(tmp_path / "run") as run, monkeypatch.context() as patch:
        if crash is not None:

            def end_epoch(*_):
                raise Crash

            patch.setattr(loop.Progress, "end_epoch", end_epoch)
            with pytest.raises(Crash):
                train(job, data(), run)
        else:
            train(job, data(), run)
    with RunDirectory.reopen(tmp_path / "run")[0] as run:
        state, _ = train(job, data(), run, resume=True)
    assert next(calls) == 1
    np.testing.assert_array_equal(state.params["kernel"], 1)


@pytest.mark.parametrize("name", ["stop", "observe", "begin", "phases"])
def test_a_sweep_refuses_what_happens_between_epochs(name):
    there = (Phase(1, linear_job),) if name == "phases" else early_stopping(patience=1)

    def build(setting, seed):
        return linear_job(**{name: there})

    with pytest.raises(ValueError, match=f"of one step throughout, got one with {name}:"):
        sweep_jobs(build, toy_dataset(), settings=jnp.ones(1), seeds=[0])
