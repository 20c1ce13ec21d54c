"""TensorBoard's event files, read by their format: length, checksum, event, checksum."""

import struct


def read_events(directory):
    """The events of each file, a list a file."""
    from tensorboardX.proto import event_pb2

    files = []
    for path in sorted(directory.glob("events*")):
        raw, events = path.read_bytes(), []
        while raw:
            (length,) = struct.unpack("<Q", raw[:8])
            events.append(event_pb2.Event.FromString(raw[12 : 12 + length]))
            raw = raw[16 + length :]
        files.append(events)
    return files
