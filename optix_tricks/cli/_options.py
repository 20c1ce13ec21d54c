"""What the commands share: how options are read, errors of usage, where a run goes."""

import dataclasses
import datetime
import inspect
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

from optix_tricks._nearest import like as like

WIDTH = 80  # of text, at most


class UsageError(Exception):
    """A command that cannot be understood; exit code 2."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where the run goes."""

    run_dir: Path | None = None
    """the run's directory; runs/RECIPE-TIME if not given"""
    debug: bool = False
    """show the traceback of an error"""


def parsed(kind: Any, command: str, about: str | None, arguments: list[str]) -> Any:
    """Return the options of a command; `--help` prints them and ends."""
    import tyro

    prog = f"optix-tricks {command}"
    return tyro.cli(kind, prog=prog, description=filled(about or ""), args=arguments)


def filled(about: str) -> str:
    """Fill paragraphs, but for code, to 80 columns; indented, since tyro joins others."""
    parts = re.split(r"\n\n+", inspect.cleandoc(about))
    filled = [x if x.startswith(" ") else textwrap.fill(x, WIDTH - 2) for x in parts]
    return textwrap.indent("\n\n".join(filled), " ")


def folded(text: str) -> str:
    """Fold lines that a terminal, or 80 columns, cannot hold; paths stay whole.

    >>> print(folded("- " + "word " * 17))
    - word word word word word word word word word word word word word word word
      word word
    """
    width = min(shutil.get_terminal_size().columns, WIDTH)
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip(" -")))
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def new_path(name: str, *, study: str = "") -> Path:
    """Return a directory for a run, or a study, of a recipe or a file."""
    stem = Path(name).stem if name.endswith(".py") else name
    stem = f"{study}-{stem}" if study else stem
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return Path("runs") / f"{stem}-{time}"
