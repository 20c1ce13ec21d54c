"""What the commands share: errors of usage, and where a run goes."""

import dataclasses
import datetime
from pathlib import Path

from optix_tricks._nearest import like as like


class UsageError(Exception):
    """A command that cannot be understood; exit code 2."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where the run goes."""

    run_dir: Path | None = None
    """the run's directory; runs/RECIPE-TIME if not given"""
    debug: bool = False
    """show the traceback of an error"""


def new_path(name: str, *, study: str = "") -> Path:
    """Return a directory for a run, or a study, of a recipe or a file."""
    stem = Path(name).stem if name.endswith(".py") else name
    stem = f"{study}-{stem}" if study else stem
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return Path("runs") / f"{stem}-{time}"
