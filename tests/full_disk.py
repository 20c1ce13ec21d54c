"""A disk without room, and one that is read-only, for files of some names.

What is opened to be written there is `/dev/full`, which the kernel lets nobody write to,
or cannot be opened: permissions would not keep root from writing.
"""

import builtins
import errno
import fnmatch
import io
import os
from pathlib import Path

FULL = "/dev/full"


def fill(monkeypatch, *patterns):
    """Let files whose names fit one of the patterns lie on a full disk."""
    _instead(monkeypatch, patterns, lambda path: FULL)


def lock(monkeypatch, *patterns):
    """Let them lie on a disk that is mounted to be read only."""

    def refuse(path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    _instead(monkeypatch, patterns, refuse)


def _instead(monkeypatch, patterns, other):
    with_python, with_system = io.open, os.open

    def fits(path):
        is_path = isinstance(path, str | os.PathLike)
        name = Path(path).name if is_path else ""
        return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    def opened(file, mode="r", *args, **kwargs):
        if fits(file) and set(mode) & set("wax+"):
            file, mode = other(file), mode.replace("x", "w")
        return with_python(file, mode, *args, **kwargs)

    def descriptor(path, flags, *args, **kwargs):
        if fits(path) and flags & (os.O_WRONLY | os.O_RDWR):
            path, flags = other(path), flags & ~(os.O_EXCL | os.O_TRUNC)
        return with_system(path, flags, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(io, "open", opened)
    monkeypatch.setattr(os, "open", descriptor)
