"""`--config FILE`: the recipe, tricks and numbers of an earlier run."""

import json
from pathlib import Path
from typing import Any

from optix_tricks.cli._options import UsageError


def configured(file: str, name: str | None) -> Any:
    """Return the run that a config.json says, to be started anew.

    Args:
      file: which a run wrote, or the directory of the run.
      name: of the recipe, if the user gave it too.

    Raises:
      UsageError: if it cannot be read or taken, or is of another recipe.
    """
    from optix_tricks.recipes import reconfigure

    path = Path(file)
    path = path / "config.json" if path.is_dir() else path
    try:
        said = json.loads(path.read_text())
        recipe, fields = said["recipe"], said["config"]
        if name in (None, recipe):
            return reconfigure(path.parent, recipe, fields, accept_changed_file=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"--config {file} cannot be taken ({type(error).__name__}: {error}): give the"
            " config.json of a run, as it was written, or the run's directory."
        ) from error
    raise UsageError(
        f"--config {file} is of recipe {recipe!r}, got {name!r}: its numbers are of other"
        " tricks."
    )
