"""A run on many devices: its rows and tests are those of one, it goes on elsewhere."""

import json

import chex
import jax
import numpy as np
import pytest

from optix_tricks.training import Checkpoints, RunDirectory, device_bytes, train
from optix_tricks.training import _run_devices as run_devices
from optix_tricks.training._run_devices import place_run
from tests.training.toy_runs import start, toy_dataset
from tests.training.wide import numbers, wide_job


def trained(path, job=None, resume=False, **places):
    run = RunDirectory.reopen(path)[0] if resume else start(path)
    with run:
        state, result = train(
            job or wide_job(), toy_dataset(), run, resume=resume, **places
        )
    rows = [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]
    return rows, state, result


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("alone") / "run")


def same(run, alone):
    for ours, theirs in zip(numbers(run[0]), numbers(alone[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-6)
    assert run[2].test.loss == pytest.approx(alone[2].test.loss, rel=1e-4)
    assert run[2].test.confusion == alone[2].test.confusion


@pytest.mark.parametrize("layout", ["zero1", "fsdp"])
def test_a_run_on_eight_devices_has_the_rows_of_one(tmp_path, alone, layout):
    run = trained(tmp_path / "run", devices=8, layout=layout)
    same(run, alone)
    split = {"zero1": 1, "fsdp": 8}[layout]
    kernel = run[1].params["dense"]["kernel"]
    assert device_bytes([kernel]) == kernel.nbytes // split


def test_data_that_do_not_fit_on_each_device_lie_on_all(tmp_path, alone, monkeypatch):
    seen = []
    put = run_devices.put

    def watched(tree, shardings):
        seen.append((tree, put(tree, shardings)))
        return seen[-1][1]

    monkeypatch.setattr(run_devices, "put", watched)
    monkeypatch.setattr(run_devices, "SHARE", 0.0)
    same(trained(tmp_path / "run", devices=8), alone)
    (data,) = [placed for _, placed in seen]
    assert device_bytes(data) == sum(x.nbytes for x in jax.tree.leaves(data)) // 8


def test_a_checkpoint_goes_on_on_another_number_of_devices(tmp_path, alone):
    path = tmp_path / "run"
    trained(path, wide_job(epochs=1), devices=8, layout="fsdp")
    run = trained(path, resume=True, devices=2, layout="zero1")
    same(run, alone)
    with Checkpoints(path / "checkpoints", read_only=True) as there:
        restored = there.restore(2, alone[1])
    chex.assert_trees_all_equal(restored._replace(key=0), run[1]._replace(key=0))
    assert len(restored.params["dense"]["kernel"].devices()) == 1


def test_what_comes_before_the_first_epoch_counts_on_a_mesh(tmp_path):
    def begin(state, data, on_step):
        on_step(1, 1)
        mean = np.mean(data.inputs[:, 0, 0, 0])
        return state._replace(params=jax.tree.map(lambda x: x + mean / 255, state.params))

    job = wide_job(epochs=1, begin=begin)
    one, eight = (
        trained(tmp_path / str(n), job, devices=n, layout=layout)
        for n, layout in ((1, "replicated"), (8, "fsdp"))
    )
    same(eight, one)


def test_devices_that_are_too_many_or_do_not_divide():
    with pytest.raises(ValueError, match="devices must be from 1 to the 8 here, got 9"):
        place_run(16, devices=9)
    match = (
        r"batch_size must be a multiple of the 8 devices that split it, got 12: take"
        r" --batch-size 16, or --devices 6\.$"
    )
    with pytest.raises(ValueError, match=match):
        place_run(12, devices=8)
    with pytest.raises(ValueError, match="must be replicated on one device, got 'fsdp'"):
        place_run(16, devices=1, layout="fsdp")


def test_of_cpu_devices_one_is_taken_and_of_accelerators_all(monkeypatch):
    assert place_run(16) == run_devices.Placement()
    monkeypatch.setattr(run_devices, "SHARED_CORES", ())
    assert place_run(16).size == 8
