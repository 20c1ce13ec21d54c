"""Runs: their records, resuming to the same bits, and numbers that are not finite."""

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
from optix_tricks.recipes import reconfigure
from optix_tricks.training import (
    LostRows,
    Phase,
    RunDirectory,
    RunError,
    create_state,
    train,
)
from optix_tricks.training import _course as course
from optix_tricks.training._finite import check_steps
from tests.training.events import read_events
from tests.training.toy_runs import (
    RUN,
    changed,
    linear_job,
    run_whole,
    start,
    toy_dataset,
)


def test_epochs_are_written_as_shares_and_the_clock_goes_on(tmp_path, monkeypatch):
    """Of 2.4 epochs, the first of them in a run that was stopped; a second each."""
    clock = itertools.count()
    monkeypatch.setattr(
        course, "time", types.SimpleNamespace(perf_counter=lambda: float(next(clock)))
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
        run.metrics_path.unlink()  # with it neither the seconds are lost nor the run
        with pytest.warns(LostRows, match=r"is gone: its rows up to step 12 are lost"):
            _, result = train(linear_job(epochs=2.4), dataset, run, resume=True)
    assert result.seconds == 3


def test_checkpoints_are_written_as_often_as_asked_and_at_the_end(tmp_path):
    with start(tmp_path / "run") as run:
        train(linear_job(epochs=5, checkpoint_every=3), toy_dataset(), run)
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert names == {"3", "5"}


def test_in_a_phase_the_step_is_that_of_the_changed_job_and_made_once():
    def triple(job):
        return job._replace(loss=lambda z, y: 3 * cross_entropy(z, y))

    def shift(job):
        return job._replace(penalty=lambda params: 1000.0)

    job = linear_job(phases=(Phase(1, triple, until=3), Phase(2, shift)))
    state = create_state(job.params, {}, job.tx, jax.random.key(0))
    batch = toy_dataset().train
    on_device = jax.tree.map(jnp.asarray, batch)
    losses = [job.step_in(epoch)(state, on_device)[1]["loss"] for epoch in range(5)]
    kernel = np.asarray(job.params["kernel"], np.float64)
    z = batch.inputs.reshape(80, -1) / 255 @ kernel
    loss = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(80), batch.targets])
    want = [loss, 3 * loss, 3 * loss + 1000, loss + 1000, loss + 1000]
    np.testing.assert_allclose(losses, want, rtol=1e-5)
    assert job.step_in(0) is job.step
    assert job.step_in(3) is job.step_in(4) is not job.step_in(2)
    other_seed = job._replace(seed=1, params={"kernel": job.params["kernel"] + 1})
    assert other_seed.step_in(2) is job.step_in(2)


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
            check_steps(rows, tmp_path)
            continue
        first = next(row["step"] for row in rows if np.isnan(row["gradient_norm"]))
        with pytest.raises(
            RunError, match=f"gradient_norm became nan at step {first}[:,]"
        ):
            check_steps(rows, tmp_path)


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
    assert reconfigure(run, config["recipe"], config["config"]).as_json() == RUN.as_json()
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
    job = RUN.job(dataset)._replace(epochs=epochs, packed=packed)
    with start(tmp_path / "whole") as run:
        whole, whole_result = train(job, dataset, run)
    assert whole_result.steps == whole.step == (8 if epochs == 1.5 else 15)
    job = RUN.job(dataset)
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
    job = reconfigure(tmp_path / "broken", recipe, fields).job(dataset)
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
    other, _ = run_whole(tmp_path / "c", changed(seed=1))
    assert not np.array_equal(
        other.params["head"]["kernel"], one.params["head"]["kernel"]
    )


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_rows(tmp_path):
    wild = linear_job(tx=optax.sgd(1e38))
    said = r"became (nan|inf) at step \d+[:,] .*lower --learning"
    with start(tmp_path / "run") as run, pytest.raises(RunError, match=said):
        train(wild, toy_dataset(), run)
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["loss"] > 0
    assert any(json.loads(row)["loss"] is None for row in rows)
