"""TensorBoard's event files by their format: protocol buffers in records with checksums.

A record is its length, the masked CRC-32C of that, the event, and that of the event. Of
events four fields are written: a time, a step, and one of a version, a start, a summary
of scalars; the numbers of the fields are those of TensorFlow's `event.proto` and
`summary.proto`. Written here, since tensorboardX imports PyTorch where there is one, for
seconds.
"""

import struct
from collections.abc import Iterable

POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
WALL_TIME, STEP, FILE_VERSION, SUMMARY, SESSION_LOG = 1, 2, 3, 5, 7  # of an event
VALUE, TAG, SIMPLE_VALUE, STATUS = 1, 1, 2, 1  # of a summary, a value, a session's log
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # kinds of fields


def record(event: bytes) -> bytes:
    """Return an event as it stands in a file.

    >>> record(b"").hex()
    '000000000000000029039807d8ea82a2'
    """
    length = struct.pack("<Q", len(event))
    return length + _checksum(length) + event + _checksum(event)


def version(wall_time: float) -> bytes:
    """Return the event with which every file begins."""
    return _event(wall_time, 0) + _sized(FILE_VERSION, b"brain.Event:2")


def start(wall_time: float, step: int) -> bytes:
    """Return the event that takes back what older files hold from a step on."""
    return _event(wall_time, step) + _sized(SESSION_LOG, _key(STATUS, VARINT) + b"\1")


def scalars(
    wall_time: float, step: int, values: Iterable[tuple[str, int | float]]
) -> bytes:
    """Return the event of some numbers by their tags, as float32."""
    summary = b"".join(_sized(VALUE, _scalar(*value)) for value in values)
    return _event(wall_time, step) + _sized(SUMMARY, summary)


def _scalar(tag: str, x: int | float) -> bytes:
    return _sized(TAG, tag.encode()) + _key(SIMPLE_VALUE, FLOAT) + _float32(x)


def _float32(x: int | float) -> bytes:
    try:
        return struct.pack("<f", x)
    except OverflowError:  # beyond float32
        return struct.pack("<f", float("inf") if x > 0 else float("-inf"))


def _event(wall_time: float, step: int) -> bytes:
    time = _key(WALL_TIME, DOUBLE) + struct.pack("<d", wall_time)
    return time + _key(STEP, VARINT) + _varint(step)


def _sized(field: int, content: bytes) -> bytes:
    return _key(field, BYTES) + _varint(len(content)) + content


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _varint(x: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    found = bytearray()
    while x > 0x7F:
        found.append(x & 0x7F | 0x80)
        x >>= 7
    return bytes([*found, x])


def _checksum(content: bytes) -> bytes:
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(content: bytes) -> int:
    """Return the cyclic redundancy check by Castagnoli's polynomial.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in content:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _remainder(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return crc


TABLE = [_remainder(byte) for byte in range(256)]
