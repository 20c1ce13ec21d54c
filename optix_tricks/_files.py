"""Writing into a directory that others may have touched: whole, and through no link.

A run directory may come from somebody else. A symbolic link in it could have a report
overwrite a file elsewhere, so what is written replaces a link and does not follow it, and
a directory in it that is a link is refused.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import IO


def replace_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file whole or not at all; a link of its name is replaced.

    Args:
      path: of the file; its directory exists.
      content: of the file.
      durable: whether to wait until it is on the disk.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace_file(Path(folder, "a"), b"whole")
    ...     print(os.listdir(folder), Path(folder, "a").read_bytes())
    ['a'] b'whole'
    """
    refuse_link(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.unlink(missing_ok=True)  # of a process that was killed, or a link
        with draft.open("xb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:  # of a write it names no file
        error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def open_to_write(path: Path, mode: str = "a") -> IO[str]:
    """Open a file to append to ("a"), or to write anew ("w"); refuse a link.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "link").symlink_to("/somewhere/else")
    ...     open_to_write(Path(folder, "link"))
    Traceback (most recent call last):
    OSError: [Errno 40] link is a symbolic link, through which nothing is written: ...
    """
    how = {"a": os.O_APPEND, "w": os.O_TRUNC}[mode] | os.O_CREAT | os.O_WRONLY
    refuse_link(path)
    return os.fdopen(os.open(path, how | os.O_NOFOLLOW, 0o666), mode)


def own_directory(path: Path) -> Path:
    """Make a directory in a run's, if it is absent; refuse a link to another."""
    refuse_link(path)
    path.mkdir(exist_ok=True)
    return path


def refuse_link(path: Path) -> None:
    """Raise OSError if a name stands for a symbolic link."""
    if path.is_symlink():
        raise OSError(
            errno.ELOOP,
            f"{path.name} is a symbolic link, through which nothing is written:"
            " remove it, or copy what it leads to in its place",
        )
