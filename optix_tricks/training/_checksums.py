"""The size and checksum of each file of a checkpoint, written last and read first."""

import contextlib
import json
import time
import zlib
from pathlib import Path
from typing import Any

CHECKSUMS = "checksums.json"
CHUNK = 2**20  # bytes read at a time
PATIENCE = 10  # seconds
# Orbax's own file, which says beside what is ours that there are checksums.
METADATA = "_CHECKPOINT_METADATA"
MARK = {"checksums": CHECKSUMS}
LATER = "commit_timestamp_nsecs"  # which Orbax puts into its file at the very last
COMMIT = "commit_success.txt"  # and this beside it, which nothing reads
OURS = (CHECKSUMS, f".{CHECKSUMS}.tmp", METADATA, COMMIT)


def write_checksums(directory: Path) -> None:
    """Write down size and CRC-32 of all files below, whole or not at all.

    Nothing waits for the disk: where the power fails before the list is there, the
    checkpoint is not what was written, and is passed over.
    """
    names = [path.relative_to(directory) for path in sorted(directory.rglob("*"))]
    names = [x for x in names if (directory / x).is_file() and str(x) not in OURS]
    found = {str(name): _checked(directory / name) for name in names}
    content = {"files": found, METADATA: _once_marked(directory)}
    temporary = directory / f".{CHECKSUMS}.tmp"
    with temporary.open("w") as file:
        json.dump(content, file, indent=1)
    temporary.replace(directory / CHECKSUMS)


def damaged(directory: Path) -> str | None:
    """The name of the first file that is not what was written, or None.

    A checkpoint of a version that wrote no checksums is taken for sound if its metadata
    can be read and say nothing of them.
    """
    try:
        metadata = _metadata(directory)
        marked = "checksums" in (metadata["custom_metadata"] or {})
    except (OSError, ValueError, KeyError, TypeError):
        return METADATA
    listed = directory / CHECKSUMS
    if not listed.exists():
        return CHECKSUMS if marked else None
    try:
        content = json.loads(listed.read_text())
        files, as_written = dict(content["files"]), content[METADATA]
    except (OSError, ValueError, KeyError, TypeError):
        return CHECKSUMS
    if metadata != as_written:
        return METADATA
    for name, wanted in files.items():
        try:
            if _checked(directory / name) != wanted:
                return Path(name).name
        except OSError:
            return Path(name).name
    return None


def noted(directory: Path) -> dict[str, Any]:
    """What a sound checkpoint says of its run; nothing if of an earlier version."""
    return _metadata(directory)["custom_metadata"] or {}


def _once_marked(directory: Path) -> dict[str, Any]:
    """Orbax's file with our mark, which a thread of Orbax's own may be yet to write."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, KeyError):
            said = _metadata(directory)
            if MARK.items() <= (said["custom_metadata"] or {}).items():
                return said
        time.sleep(0.01)
    return _metadata(directory)


def _metadata(directory: Path) -> dict[str, Any]:
    said = json.loads((directory / METADATA).read_text())
    return {name: x for name, x in said.items() if name != LATER}


def _checked(path: Path) -> list[int]:
    size, checksum = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return [size, checksum]
