"""Event files: what is written can be read by TensorBoard's format."""

import struct

import numpy as np
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


def test_a_file_is_read_by_others_whatever_the_numbers(tmp_path):
    """Every byte as protocol buffers and tensorboardX's own checksums have it."""
    from tensorboardX.crc32c import crc32c
    from tensorboardX.proto import event_pb2

    rows = [
        {"kind": "train", "step": step, "epoch": 0.5, "loss": x, "ü" * 90: 1}
        for step, x in ((0, 1.5), (300, float("nan")), (2**40, 1e300), (1, -1e300))
    ]
    with EventFile(tmp_path / "tensorboard", from_step=129) as events:
        events.add(rows)
    [path] = (tmp_path / "tensorboard").iterdir()
    raw, found = path.read_bytes(), []
    while raw:
        (length,) = struct.unpack("<Q", raw[:8])
        event = raw[12 : 12 + length]
        for content, start in ((raw[:8], 8), (event, 12 + length)):
            (masked,) = struct.unpack("<I", raw[start : start + 4])
            crc = crc32c(content)
            assert masked == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
        found.append(event_pb2.Event.FromString(event))
        assert len(found[-1].SerializeToString()) >= length - 2  # a step of 0 is left out
        raw = raw[16 + length :]
    first, begin, *others = found
    assert first.file_version == "brain.Event:2"
    assert (begin.step, begin.session_log.status) == (129, event_pb2.SessionLog.START)
    assert [event.step for event in others] == [0, 300, 2**40, 1]
    for event, row in zip(others, rows, strict=True):
        values = {value.tag: value.simple_value for value in event.summary.value}
        assert values.keys() == {"train/loss", "train/" + "ü" * 90}
        with np.errstate(over="ignore"):
            want = np.float32(row["loss"])
        np.testing.assert_equal(values["train/loss"], want)
