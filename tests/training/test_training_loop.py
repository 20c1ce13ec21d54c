"""Runs: their records, resuming to the same bits, and numbers that are not finite."""

import dataclasses
import itertools
import json
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optix_tricks as ot
from optix_tricks.losses import cross_entropy
from optix_tricks.recipes import cifar10_resnet9
from optix_tricks.training import (
    CheckpointError,
    Job,
    RunDirectory,
    RunError,
    Settled,
    train,
)
from optix_tricks.training import _loop as loop
from tests.training.events import read_events
from tests.training.toy_runs import CONFIG, run_whole, start, toy_dataset


def linear(params, batch_stats, images, *, train, key=None):
    del train, key
    x = images.reshape(len(images), -1).astype(jnp.float32) / 255
    return x @ params["kernel"], batch_stats


def linear_job(**changes):
    """A network that compiles in no time; five steps an epoch of the toy images."""
    rng = np.random.default_rng(0)
    job = Job(
        apply=linear,
        params={"kernel": jnp.asarray(0.1 * rng.standard_normal((192, 3)), jnp.float32)},
        batch_stats={},
        loss=cross_entropy,
        tx=optax.sgd(0.01),
        augment=None,
        epochs=3,
        batch_size=16,
        seed=0,
        test_loss=cross_entropy,
    )
    return job._replace(**changes)


def test_epochs_are_written_as_shares_and_the_clock_goes_on(tmp_path, monkeypatch):
    """Of 2.4 epochs, the first of them in a run that was stopped; a second each."""
    clock = itertools.count()
    monkeypatch.setattr(
        loop, "time", types.SimpleNamespace(perf_counter=lambda: float(next(clock)))
    )
    dataset, path = toy_dataset(), tmp_path / "run"
    with start(path) as run:
        _, result = train(linear_job(epochs=1), dataset, run)
    assert result.seconds == 1
    run, *_ = RunDirectory.reopen(path)
    with run:
        _, result = train(linear_job(epochs=2.4), dataset, run, resume=True)
        rows = run.read_metrics()
        assert result.seconds == 3
        assert result.steps == 12
        assert result.parameters == 192 * 3
        steps = [row for row in rows if row["kind"] == "train"]
        assert [row["step"] for row in steps] == list(range(1, 13))
        shares = [row["epoch"] for row in steps]
        np.testing.assert_allclose(shares, np.arange(1, 13) / 5, rtol=1e-12)
        tests = [row for row in rows if row["kind"] == "test"]
        assert [(row["epoch"], row["step"]) for row in tests] == [
            (1, 5), (2, 10), (2.4, 12),
        ]  # fmt: skip
        assert [row["seconds"] for row in tests] == [1, 2, 3]
        # TensorBoard is told from which step on the second file holds.
        starts = [
            events[1].step for events in read_events(path / "tensorboard")
        ]  # the first says the version
        assert sorted(starts) == [1, 6]
        run.metrics_path.unlink()  # with it the seconds are lost, the run is not
        _, result = train(linear_job(epochs=2.4), dataset, run, resume=True)
    assert result.seconds == 0


def test_checkpoints_are_written_as_often_as_asked_and_at_the_end(tmp_path):
    with start(tmp_path / "run") as run:
        train(linear_job(epochs=5, checkpoint_every=3), toy_dataset(), run)
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert names == {"3", "5"}


def test_a_job_settles_in_the_epoch_that_it_names():
    job = linear_job()
    assert not job.is_settled(0)
    job = job._replace(settled=Settled(2, linear))
    assert [job.is_settled(epoch) for epoch in range(4)] == [False, False, True, True]


GOOD = {"step": 1, "loss": 0.5, "gradient_norm": 1.0}
BAD = GOOD | {"gradient_norm": np.nan}
SKIPS = {"inner.last_finite": 0.0}
LEAST = SKIPS | {"loss_scale": 1.0, "min_scale": 1.0}


def test_a_run_stops_where_it_cannot_recover(tmp_path):
    for rows, stops in [
        ([GOOD, GOOD], False),
        ([GOOD, BAD], True),
        ([GOOD, BAD | SKIPS], False),  # left out, and the next may be good
        ([BAD | SKIPS, BAD | SKIPS], True),
        ([BAD | LEAST, BAD | LEAST], True),
        ([BAD | LEAST, GOOD | LEAST], False),
        # What counts is the scale at the end, from which it can still fall.
        ([BAD | LEAST, BAD | LEAST | {"loss_scale": 1.5}], False),
        ([BAD | LEAST | {"loss_scale": 2.0}, BAD | LEAST], True),
    ]:
        rows = [row | {"step": i + 1} for i, row in enumerate(rows)]
        if not stops:
            loop._check_finite(rows, tmp_path)
            continue
        first = next(row["step"] for row in rows if np.isnan(row["gradient_norm"]))
        with pytest.raises(RunError, match=f"gradient_norm became nan at step {first}:"):
            loop._check_finite(rows, tmp_path)


def test_the_scale_and_its_least_are_columns_of_a_step():
    """Those that `train` looks at when numbers are not finite."""
    tx = ot.dynamic_loss_scale(optax.sgd(0.1))
    assert {"loss_scale", "min_scale", "last_finite"} <= ot.report(
        tx.init({"kernel": jnp.ones(2)})
    ).keys()


def test_a_run_leaves_its_whole_record(tmp_path):
    state, result = run_whole(tmp_path / "run")
    run = tmp_path / "run"
    config = json.loads((run / "config.json").read_text())
    assert config["recipe"] == "cifar10_resnet9"
    assert cifar10_resnet9.Config(**config["config"]) == CONFIG
    environment = json.loads((run / "environment.json").read_text())
    assert environment["jax"] == jax.__version__
    assert environment["devices"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if row["kind"] == "train"]
    assert steps == list(range(1, 16))
    tests = [row for row in rows if row["kind"] == "test"]
    assert [(row["epoch"], row["step"]) for row in tests] == [(1, 5), (2, 10), (3, 15)]
    wanted = {"loss", "accuracy", "gradient_norm", "update_norm", "parameter_norm"}
    assert wanted | {"learning_rate"} <= rows[0].keys()
    assert json.loads((run / "result.json").read_text())["test_size"] == 40
    assert round(40 * result.test.metrics["accuracy"], 9).is_integer()
    assert list((run / "tensorboard").glob("events*"))
    assert {p.name for p in (run / "checkpoints").iterdir()} >= {"2", "3"}
    assert not [p for p in run.rglob("*") if p.suffix in (".pkl", ".pickle")]
    assert state.step == 15


@pytest.mark.parametrize(
    ("stopped_after", "epochs", "packed"),
    [(1, 3, False), (2, 3, False), (1, 1.5, False), (1, 3, True)],
)
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, stopped_after, epochs, packed):
    dataset = toy_dataset()
    job = cifar10_resnet9.build(CONFIG, dataset)._replace(epochs=epochs, packed=packed)
    with start(tmp_path / "whole") as run:
        whole, whole_result = train(job, dataset, run)
    assert whole_result.steps == whole.step == (8 if epochs == 1.5 else 15)
    job = cifar10_resnet9.build(CONFIG, dataset)
    short = job._replace(
        epochs=stopped_after, packed=packed
    )  # the schedule is still of three epochs
    with start(tmp_path / "broken") as run:
        train(short, dataset, run)
        # What a crash within the next epoch leaves behind.
        step = 5 * stopped_after + 1
        run.append_metrics([{"kind": "train", "step": step, "epoch": 9.0, "loss": -1.0}])
        with run.metrics_path.open("a") as file:
            file.write('{"kind": "tra')

    again, recipe, fields = RunDirectory.reopen(tmp_path / "broken")
    assert recipe == "cifar10_resnet9"
    job = cifar10_resnet9.build(cifar10_resnet9.Config(**fields), dataset)
    job = job._replace(epochs=epochs, packed=packed)
    with again:
        resumed, resumed_result = train(job, dataset, again, resume=True)
    whole, resumed = (
        s._replace(key=jax.random.key_data(s.key)) for s in (whole, resumed)
    )
    chex.assert_trees_all_equal(resumed, whole)
    assert resumed_result.test == whole_result.test
    rows = [
        [
            {name: x for name, x in json.loads(line).items() if name != "seconds"}
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "broken")
    ]
    assert rows[0] == rows[1]


def test_the_seed_decides_the_run(tmp_path):
    one, _ = run_whole(tmp_path / "a")
    same, _ = run_whole(tmp_path / "b")
    chex.assert_trees_all_equal(one.params, same.params)
    other, _ = run_whole(tmp_path / "c", dataclasses.replace(CONFIG, seed=1))
    assert not np.array_equal(
        other.params["head"]["kernel"], one.params["head"]["kernel"]
    )


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_rows(tmp_path):
    config = dataclasses.replace(CONFIG, learning_rate=1e30, warmup_fraction=0.0)
    with pytest.raises(RunError, match=r"became (nan|inf) at step \d+: lower --learning"):
        run_whole(tmp_path / "run", config)
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["loss"] > 0
    assert any(json.loads(row)["loss"] is None for row in rows)


def test_resume_without_a_checkpoint_is_refused(tmp_path):
    dataset = toy_dataset()
    job = cifar10_resnet9.build(CONFIG, dataset)
    message = "no complete checkpoint in"
    with start(tmp_path / "run") as run, pytest.raises(CheckpointError, match=message):
        train(job, dataset, run, resume=True)
