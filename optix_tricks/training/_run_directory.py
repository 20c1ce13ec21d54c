"""The directory that holds all of a run: what it was, what it did, how to go on.

config.json, environment.json, metrics.jsonl, result.json, speed.json, confusion.json of
classes, examples.npz of images, layers.json, tensorboard/, checkpoints/, profile/,
figures/ and report.html. Text, arrays, Orbax's and the profiler's formats only; nothing
is pickled.
"""

import datetime
import errno
import fcntl
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from optix_tricks._files import open_to_write, replace_file
from optix_tricks._rows import KINDS, rows_of
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._json_numbers import finite, strict

OnRow = Callable[[dict[str, Any]], None]  # given each row of metrics
RESTORE = "restore"  # the kind of a row that says that a run went back
PACKAGES = ("jax", "jaxlib", "optax", "flax", "numpy", "orbax-checkpoint")


class RunError(RuntimeError):
    """Something that stops a run; one sentence with the way out."""


class RunDirectory:
    """A run's directory, locked until it is closed or the process ends.

    Make one with `start`, `reopen` or `follow`, and use it in a `with` statement.

    Each row of metrics.jsonl may be handed on, once it is on the disk, to a tracker of
    experiments: `on_row(row)`, which `start` and `reopen` take. What it raises ends the
    run, which can be resumed. A run that goes on hands on those rows again that it writes
    again, those after its checkpoint.

    Attributes:
      path: of the directory.
      writes: whether this process writes the files of which there is one; others of the
        same run only read them.
    """

    def __init__(
        self, path: PathLike, *, writes: bool = True, on_row: OnRow | None = None
    ):
        self.path = Path(path)
        self.writes = writes
        self._on_row = on_row
        self._lock = _lock(self.path) if writes else None

    def __enter__(self) -> "RunDirectory":
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """Free the directory for others."""
        if self._lock is not None:
            self._lock.close()

    @classmethod
    def follow(cls, path: PathLike) -> "RunDirectory":
        """Read a directory that another process of the same run writes."""
        return cls(path, writes=False)

    @classmethod
    def start(
        cls,
        path: PathLike,
        *,
        recipe: str,
        config: dict[str, Any],
        on_row: OnRow | None = None,
    ) -> "RunDirectory":
        """Make a directory for a new run, with its configuration and environment.

        Raises:
          RunError: if `path` holds something already or cannot be written.
        """
        path = Path(path)
        check_new(path)
        with explained(path):
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path, on_row=on_row)
            try:
                run.write_json("config.json", {"recipe": recipe, "config": config})
                run.write_json("environment.json", environment())
            except BaseException:
                run.__exit__()
                raise
        return run

    @classmethod
    def reopen(
        cls, path: PathLike, *, on_row: OnRow | None = None
    ) -> tuple["RunDirectory", str, dict[str, Any]]:
        """Open an existing run to continue it; return it, its recipe and configuration.

        Raises:
          RunError: if `path` is no run directory, or is in use.
        """
        recipe, config = read_settings(path, said_as=f"--resume {path}")
        return cls(path, on_row=on_row), recipe, config

    @property
    def metrics_path(self) -> Path:
        """Where the metrics are."""
        return self.path / "metrics.jsonl"

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a file whole or not at all; null for numbers that JSON does not have."""
        if not self.writes:
            return
        text = json.dumps(strict(content), indent=2, default=os.fspath, allow_nan=False)
        with explained(self.path):
            replace_file(self.path / name, f"{text}\n".encode())

    def append_metrics(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows, one line each, see them safe on the disk, and hand them on."""
        if not self.writes:
            return
        rows = list(rows)
        text = "".join(json.dumps(finite(row)) + "\n" for row in rows)
        with explained(self.path), open_to_write(self.metrics_path) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if self._on_row is not None:
            for row in rows:
                self._on_row(row)

    def read_metrics(self) -> list[dict[str, Any]]:
        """All complete rows; a last line cut off by a crash is left out."""
        if not self.metrics_path.exists():
            return []
        try:
            return list(rows_of(self.metrics_path))
        except ValueError as error:
            raise RunError(str(error)) from error

    def cut_metrics(self, last_step: int, *, tested: bool = True) -> list[dict[str, Any]]:
        """Keep the rows up to a step, from which the run goes on; return them.

        Those of tests after that step itself are kept if it was `tested`, and all that
        say that the run went back.
        """
        rows = [
            row
            for row in self.read_metrics()
            if row["kind"] not in KINDS
            or row["step"] < last_step + (tested or row["kind"] == "train")
        ]
        if not self.writes:
            return rows
        with explained(self.path):
            text = "".join(json.dumps(finite(row)) + "\n" for row in rows)
            replace_file(self.metrics_path, text.encode())
        return rows


def read_settings(
    path: PathLike, *, said_as: str | None = None
) -> tuple[str, dict[str, Any]]:
    """Return the recipe and the configuration in a run's config.json.

    Raises:
      RunError: if it cannot be read; names the path, as it was said.
    """
    try:
        said = json.loads((Path(path) / "config.json").read_text())
        recipe, config = said["recipe"], said["config"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"its config.json cannot be read ({type(error).__name__})"
        if isinstance(error, FileNotFoundError):
            is_there = Path(path).is_dir()
            why = "it has no config.json" if is_there else "there is no such directory"
        elif isinstance(error, NotADirectoryError):
            why = "it is a file"
        raise RunError(
            f"{said_as or path} is not a run directory: {why}; `optix-tricks runs` lists"
            " yours."
        ) from error
    if not (isinstance(recipe, str) and isinstance(config, dict)):
        raise RunError(
            f'{Path(path) / "config.json"} lacks "recipe", a string, or "config", an'
            " object: restore it from where it was copied."
        )
    return recipe, config


def check_new(path: PathLike) -> None:
    """Raise RunError if a directory for a new run holds something already."""
    path = Path(path)
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise RunError(
            f"run directory {os.fspath(path)!r} has a byte that is no UTF-8, under which"
            " no checkpoint can be written: name another with --run-dir."
        ) from error
    with explained(path):
        if path.exists() and any(path.iterdir()):
            raise RunError(
                f"run directory {path} is not empty: continue it with --resume {path}, "
                "or name another with --run-dir."
            )


def environment() -> dict[str, Any]:
    """Versions, devices, source revision, command and time of this process."""
    from optix_tricks import __version__

    return {
        "optix_tricks": __version__,
        "commit": _commit(),
        **{name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "cpu_count": os.cpu_count(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def no_space(path: PathLike, why: str = "") -> RunError:
    """The error of a full disk; `why` is a clause that ends in a semicolon."""
    is_run = (Path(path) / "config.json").is_file()
    way_out = f"continue with --resume {path}" if is_run else "start again"
    return RunError(
        f"no space left on the disk of {path}:{why} free some and {way_out}; what was"
        " written before is kept."
    )


@contextmanager
def explained(path: PathLike) -> Iterator[None]:
    """Turn an error of the file system, Orbax's wrapping included, into one sentence."""
    try:
        yield
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        why = getattr(error, "strerror", None) or str(error)
        if wrapped := re.search(r"\[os_error_code='(\d+)'", str(error)):
            number = int(wrapped[1])
            why = os.strerror(number)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise no_space(path) from error
        if isinstance(error, OSError) or wrapped:
            raise RunError(f"cannot write to {path}: {why}.") from error
        raise


def _lock(path: Path) -> Any:
    """Take the directory for this process; the system frees it when the process ends."""
    with explained(path):
        file = open_to_write(path / ".lock", "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise RunError(
            f"run directory {path} is in use by another process: wait for it, or name "
            "another with --run-dir."
        ) from error
    return file


def _commit() -> str | None:
    here = Path(__file__).parent
    if not (here.parents[1] / ".git").exists():
        return None
    asked = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or None
