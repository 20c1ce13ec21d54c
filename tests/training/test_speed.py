"""Rates of epochs by hand, on devices that tell of themselves, and on others."""

import json
import types

import pytest

from optix_tricks.training import train
from optix_tricks.training._speed import Speed
from tests.training.toy_runs import linear_job, start, toy_dataset


def device(kind, memory):
    return types.SimpleNamespace(device_kind=kind, memory_stats=lambda: memory)


def test_a_known_device_has_its_share_and_its_peak():
    speed = Speed(batch_size=100)
    for seconds in (50.0, 2.0, 1.0, 4.0):  # the first compiles
        speed.add(10, seconds)
    known = device("NVIDIA H200", {"peak_bytes_in_use": 123})
    assert speed.as_json(lambda: 989 * 10**10, known) == {
        "device": "NVIDIA H200",
        "examples_per_second": 500.0,
        "timed_parts": 4,
        "share_of_peak": pytest.approx(0.05),  # 5 steps a second of 1 % each
        "peak_memory_bytes": 123,
    }


def test_what_is_not_known_is_left_out_and_not_counted():
    speed = Speed(batch_size=8)
    assert speed.as_json(lambda: 1 / 0, device("cpu", None)) == {}
    speed.add(3, 2.0)
    assert speed.as_json(lambda: 1 / 0, device("cpu", None)) == {
        "device": "cpu",
        "examples_per_second": 12.0,
        "timed_parts": 1,
    }


def test_a_run_writes_it_and_its_page_shows_it(tmp_path):
    from optix_tricks.reports import write_report

    with start(tmp_path / "run") as run:
        train(linear_job(epochs=2), toy_dataset(), run)
    found = json.loads((tmp_path / "run" / "speed.json").read_text())
    assert found["timed_parts"] == 2
    assert found["examples_per_second"] > 0
    page = write_report(tmp_path / "run").read_text()
    assert "<h2>Speed</h2>" in page
    assert "examples_per_second" in page
