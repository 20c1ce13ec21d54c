"""Event files: what is written can be read by TensorBoard's format."""

import pytest

from optix_tricks.training._events import EventFile
from tests.training.events import read_events


def test_rows_are_events_of_scalars(tmp_path):
    rows = [
        {"kind": "train", "step": 7, "epoch": 1.4, "loss": 0.5, "accuracy": 0.25},
        {"kind": "test", "step": 8, "epoch": 1.6, "loss": 2.0},
    ]
    with EventFile(tmp_path / "run" / "tensorboard", from_step=7) as events:
        events.add(rows)
        # Flushed: they are there before the file is closed.
        [written] = read_events(tmp_path / "run" / "tensorboard")
    version, start, *said = written
    assert version.file_version
    assert start.step == 7
    assert start.session_log.status == 1  # START: later steps of older files are void
    scalars = [
        (event.step, {v.tag: v.simple_value for v in event.summary.value})
        for event in said
    ]
    assert scalars == [
        (7, {"train/loss": 0.5, "train/accuracy": 0.25}),
        (8, {"test/loss": 2.0}),
    ]
    assert said[0].wall_time == pytest.approx(start.wall_time, abs=60)
