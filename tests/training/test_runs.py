"""Runs: records, resuming to the same bits, and every way a run can be refused."""

import dataclasses
import errno
import json
import multiprocessing
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from optix_tricks.recipes import cifar10_resnet9, digits
from optix_tricks.training import (
    Batch,
    CheckpointError,
    Checkpoints,
    Dataset,
    RunDirectory,
    RunError,
    train,
)
from optix_tricks.training import _checkpoint as checkpoint
from optix_tricks.training import _run_directory as run_directory

CONFIG = cifar10_resnet9.Config(
    dataset="toy",
    width=2,
    epochs=3,
    batch_size=16,
    learning_rate=0.1,
    cutout=2,
    padding=1,
)


def toy_dataset(channels=3):
    """Classes that differ in brightness."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120).astype(np.int32)
    noise = rng.integers(0, 60, (120, 8, 8, channels))
    images = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
    train, test = (Batch(images[part], labels[part]) for part in (np.s_[:80], np.s_[80:]))
    return Dataset("toy", train, test, tuple("abc"))


def start(path: Path, config=CONFIG) -> RunDirectory:
    return RunDirectory.start(
        path, recipe="cifar10_resnet9", config=dataclasses.asdict(config)
    )


def run_whole(path, config=CONFIG):
    dataset = toy_dataset()
    with start(path, config) as run:
        return train(cifar10_resnet9.build(config, dataset), dataset, run)


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
    assert resumed_result.test_loss == whole_result.test_loss
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


def test_a_directory_that_holds_something_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"run is not empty: continue it with --resume"):
        start(tmp_path / "run")
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def _hold(path, ready, go_on):
    with start(path):
        ready.set()
        go_on.wait(30)


def test_a_directory_in_use_by_another_process_is_refused(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, go_on = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "run", ready, go_on))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(RunError, match="in use by another process"):
            RunDirectory.reopen(tmp_path / "run")
    finally:
        go_on.set()
        other.join()
    with RunDirectory.reopen(tmp_path / "run")[0]:
        pass


def test_no_run_directory_no_resume(tmp_path):
    with pytest.raises(RunError, match=r"is not a run directory: its config.json"):
        RunDirectory.reopen(tmp_path)


def test_resume_without_a_checkpoint_is_refused(tmp_path):
    dataset = toy_dataset()
    job = cifar10_resnet9.build(CONFIG, dataset)
    message = "no complete checkpoint in"
    with start(tmp_path / "run") as run, pytest.raises(CheckpointError, match=message):
        train(job, dataset, run, resume=True)


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"width": 4}, "params/head/kernel"), ({"momentum": 0.5}, None)],
)
def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path, changes, name):
    state, _ = run_whole(tmp_path / "run")
    other = cifar10_resnet9.build(dataclasses.replace(CONFIG, **changes), toy_dataset())
    like = state._replace(params=other.params, batch_stats=other.batch_stats)
    with Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints:
        if name is None:
            restored = checkpoints.restore(3, like)
            chex.assert_trees_all_equal(restored.params, state.params)
            return
        with pytest.raises(CheckpointError, match=r"another model: .* there and .* here"):
            checkpoints.restore(3, like)


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path, monkeypatch):
    first, second = ({"kind": "train", "step": i, "loss": 0.5 / i} for i in (1, 2))

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    with start(tmp_path / "run") as run:
        run.append_metrics([first])
        monkeypatch.setattr(run_directory.os, "fsync", full)
        with pytest.raises(RunError, match=r"no space left .* with --resume"):
            run.append_metrics([second])
        assert run.read_metrics()[0] == first


def test_a_checkpoint_that_does_not_fit_is_one_sentence(tmp_path, monkeypatch):
    usage = checkpoint.shutil.disk_usage(tmp_path)
    small = usage._replace(free=1000)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: small)
    with pytest.raises(RunError, match=r"a checkpoint needs .* MiB and 0\.0 are free"):
        run_whole(tmp_path / "run")
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["kind"] == "test"


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write to .*: Not a directory"):
        start(tmp_path / "file" / "run")


def test_the_digits_recipe_builds_the_chain_it_states():
    tx = digits.make_optimizer(digits.Config(), steps=100)
    params = {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
    zero = jax.tree.map(np.zeros_like, params)
    state = tx.init(params)
    rates = []
    for _ in range(101):
        updates, state = tx.update(zero, state, params)
        rates.append(float(state[1][1].hyperparams["learning_rate"]))
    # Rises to 0.3 over 20 steps, falls to zero over 80; decay acts on the kernel alone.
    np.testing.assert_allclose(
        np.array(rates)[[0, 10, 20, 60, 100]], [0, 0.15, 0.3, 0.15, 0]
    )
    assert (np.asarray(updates["bias"]) == 0).all()
    _, state = tx.update(zero, tx.init(params), params)
    np.testing.assert_allclose(state[1][0].trace["kernel"], 5e-4, rtol=1e-6)
