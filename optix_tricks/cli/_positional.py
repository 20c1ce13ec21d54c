"""What stands behind a command without a flag."""

from pathlib import Path
from typing import Annotated

import tyro


def _named(metavar: str) -> object:
    return tyro.conf.arg(metavar=metavar)


Recipe = Annotated[str, tyro.conf.Positional, _named("RECIPE")]
Run = Annotated[Path, tyro.conf.Positional, _named("RUN")]
Runs = Annotated[tuple[Path, ...], tyro.conf.Positional, _named("RUN")]
Directory = Annotated[Path, tyro.conf.Positional, _named("DIR")]
File = Annotated[Path, tyro.conf.Positional, _named("FILE")]
Files = Annotated[tuple[Path, ...], tyro.conf.Positional, _named("FILE")]
Name = Annotated[str | None, tyro.conf.Positional, _named("NAME")]
