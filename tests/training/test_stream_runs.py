"""Runs on pictures that are streamed: the same bits, whoever decodes, stopped or not."""

import json
import os
import signal

import chex
import jax
import numpy as np
import pytest

from optix_tricks.training import (
    DataError,
    LostWorker,
    RunDirectory,
    Stopped,
    Stream,
    load_dataset,
    train,
)
from optix_tricks.training import _streaming as streaming
from optix_tricks.training._picture_array import LabelledPictures
from optix_tricks.training._workers import DEATH
from tests.training.pictures import SIZE, picture_job, write_folder
from tests.training.toy_runs import start


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("pictures"))
    return load_dataset(folder, stream=True, image_size=SIZE)


def trained(path, data, job=None, resume=False, **options):
    run = RunDirectory.reopen(path)[0] if resume else start(path)
    with run:
        return train(job or picture_job(), data, run, resume=resume, **options)


def rows_of(path):
    rows = [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]
    timed = ("seconds", "input_wait")
    return [{k: x for k, x in row.items() if k not in timed} for row in rows]


def without_key(state):
    return state._replace(key=jax.random.key_data(state.key))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    return (*trained(path, data), path)


def same(path, found, whole):
    state, result = found
    chex.assert_trees_all_equal(without_key(state), without_key(whole[0]))
    assert result._replace(seconds=0) == whole[1]._replace(seconds=0)
    assert rows_of(path) == rows_of(whole[2])


def test_half_and_half_are_the_whole_in_threads_and_workers(data, whole, tmp_path):
    path = tmp_path / "run"
    trained(path, data, picture_job(epochs=1))
    same(path, trained(path, data, resume=True, workers=1), whole)


@pytest.mark.parametrize("step", [2, 4, 7])
def test_a_run_that_is_ended_within_an_epoch_goes_on_in_the_same_bits(
    data, whole, tmp_path, monkeypatch, step
):
    path = tmp_path / "run"
    get, asked = Stream.__next__, []

    def next_batch(self):
        asked.append(self.number)
        if len(asked) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return get(self)

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(Stream, "__next__", next_batch)
    with pytest.raises(Stopped) as stopped:
        trained(path, data)
    monkeypatch.undo()
    assert stopped.value.step == step
    assert asked == list(range(step))
    same(path, trained(path, data, resume=True), whole)


def test_checkpoints_within_an_epoch_change_nothing(data, whole, tmp_path):
    path = tmp_path / "run"
    same(path, trained(path, data, picture_job(checkpoint_every="3steps")), whole)


def test_the_rows_and_the_speed_say_what_was_waited(data, whole):
    lines = (whole[2] / "metrics.jsonl").read_text().splitlines()
    waits = [row.get("input_wait") for row in map(json.loads, lines)]
    assert sum(x is None for x in waits) == 2  # the tests
    assert all(x is None or x >= 0 for x in waits)
    speed = json.loads((whole[2] / "speed.json").read_text())
    assert 0 <= speed["waiting_share"] <= 1


def test_on_devices_it_is_that_of_one(data, whole, tmp_path):
    state, result = trained(tmp_path / "run", data, devices=2, layout="fsdp")
    chex.assert_trees_all_close(state.params, whole[0].params, rtol=1e-4, atol=1e-6)
    assert result.test.loss == pytest.approx(whole[1].test.loss, rel=1e-5)
    assert result.test.confusion == whole[1].test.confusion


def test_a_training_sees_crops_and_the_test_the_centre(data, tmp_path):
    """Pictures without a crop are those of the test, batch by batch."""
    source = LabelledPictures(data.train.inputs, data.train.targets)
    from optix_tricks.training._host_crop import PictureReader

    with Stream(source, batch_size=6, seed=0, augment=PictureReader(SIZE)) as stream:
        batch = next(stream)
    want = np.asarray(data.train.inputs[np.asarray(batch.indices)])
    np.testing.assert_array_equal(batch.inputs, want)
    np.testing.assert_array_equal(batch.targets, data.train.targets[batch.indices])


class Dying:
    """Grain's iterator, of which a worker dies."""

    def __init__(self, batches, dead):
        self.batches, self.dead = batches, dead

    def __next__(self):
        if self.dead and self.dead.pop():
            raise RuntimeError(f"{DEATH} with exit code -9. Search the logs")
        return next(self.batches)

    def close(self):
        self.batches.close()


def test_workers_that_die_are_replaced_and_named_once_they_keep_dying(data, monkeypatch):
    source = LabelledPictures(data.train.inputs[:6], data.train.targets[:6])
    opened = streaming.host_batches

    def taken(dead, count):
        with monkeypatch.context() as patch:
            patch.setattr(
                streaming,
                "host_batches",
                lambda *x, **y: Dying(opened(*x, **y), dead),
            )
            from optix_tricks.training import RandomResizedCrop

            crop = RandomResizedCrop(SIZE)
            settings = {"batch_size": 2, "seed": 0, "augment": crop, "prefetch": 0}
            with Stream(source, **settings) as stream:
                return [jax.device_get(next(stream)) for _ in range(count)]

    plain = taken([], 6)
    with pytest.warns(LostWorker, match=r"exit code -9\) before batch \d; going on"):
        chex.assert_trees_all_equal(taken([False, True, False, True], 6), plain)
    with (
        pytest.warns(LostWorker),
        pytest.raises(DataError, match=r"the fourth to do so: .* or fewer --workers\.$"),
    ):
        taken([True] * 4, 1)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(data, whole, tmp_path, monkeypatch):
    import multiprocessing

    get = Stream.__next__

    def next_batch(self):
        if self.number == 3:
            for child in multiprocessing.active_children():
                child.kill()
        return get(self)

    monkeypatch.setattr(Stream, "__next__", next_batch)
    path = tmp_path / "run"
    with pytest.warns(LostWorker):
        found = trained(path, data, workers=1)
    monkeypatch.undo()
    same(path, found, whole)
