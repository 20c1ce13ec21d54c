"""A run of one's own recipe: its settings as JSON, and the way back."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optax

from optix_tricks.recipes._own import OwnRecipe, load_own
from optix_tricks.training import Dataset, Job, RunError, load_dataset
from optix_tricks.training._dataset import PathLike
from optix_tricks.tricks import Setup, Trick

FORMAT = 2  # of the settings; the packaged recipes' is older and has no number
COPY = "recipe.py"  # in the run's directory


@dataclasses.dataclass(frozen=True)
class OwnRun:
    """A recipe, the setup that it came to, and the data."""

    recipe: OwnRecipe
    setup: Setup
    dataset: str | None = "digits"  # None where the recipe has its own
    data_dir: str | None = None
    seed: int = 0

    def load(self) -> Dataset:
        """Return the data: the recipe's own, or the data set of this name."""
        if self.recipe.data is not None:
            return self.recipe.data()
        return load_dataset(str(self.dataset), data_dir=self.data_dir)

    def at_seed(self, seed: int) -> "OwnRun":
        """Return the same run of another seed."""
        return dataclasses.replace(self, seed=seed)

    def from_directory(self, data_dir: PathLike) -> "OwnRun":
        """Return the same run with its data elsewhere."""
        return dataclasses.replace(self, data_dir=os.fspath(data_dir))

    def in_float32(self) -> "OwnRun":
        """Return the same run with activations in float32, to measure with."""
        names = [each.name for each in self.setup.filled()["precision"]]
        return dataclasses.replace(self, setup=self.setup.without(*names))

    def job(self, dataset: Dataset) -> Job:
        """Build the job."""
        return self.setup.job(dataset, seed=self.seed)

    def optimizers(
        self, dataset: Dataset
    ) -> Callable[[optax.Schedule], optax.GradientTransformation]:
        """Return the optimiser as a function of the rate, in the unit of its own."""
        return self.setup.plan(dataset).optimizer

    def as_json(self) -> dict[str, Any]:
        """Return the settings: what cannot be told by numbers is in the recipe's file."""
        return {
            "format": FORMAT,
            "dataset": self.dataset,
            "data_dir": self.data_dir,
            "seed": self.seed,
            "epochs": self.setup.epochs,
            "batch_size": self.setup.batch_size,
            "tricks": [[each.name, dict(each.numbers)] for each in self.setup.tricks],
        }

    def keep_source(self, directory: PathLike) -> None:
        """Copy the recipe's file into the run."""
        shutil.copyfile(self.recipe.path, Path(directory) / COPY)


def reconfigured(
    path: PathLike,
    name: str,
    fields: dict[str, Any],
    *,
    accept_changed_file: bool,
    from_copy: bool,
) -> OwnRun:
    """Return an earlier run's recipe and settings; a file's from the run's copy if asked.

    Raises:
      RunError: if the file has changed since, unless that is accepted, or it no longer
        has a trick.
    """
    if fields.get("format") != FORMAT:
        raise RunError(
            f"run {path} has settings of format {fields.get('format')}, this version"
            f" writes {FORMAT}: go on with the version that began it."
        )
    copy = Path(path) / COPY
    from_copy = from_copy and name.endswith(".py")
    recipe = load_own(str(copy) if from_copy else name)
    if not accept_changed_file and not from_copy:
        _check_unchanged(recipe.path, copy)
    tricks = tuple(
        recipe.trick(trick)(**{k: _as_tuple(x) for k, x in numbers.items()})
        for trick, numbers in fields["tricks"]
    )
    base = recipe.setup()
    setup = dataclasses.replace(
        base, epochs=fields["epochs"], batch_size=fields["batch_size"], tricks=tricks
    )
    settings = {name: fields[name] for name in ("dataset", "data_dir", "seed")}
    return OwnRun(recipe, setup, **settings)


def _as_tuple(x: Any) -> Any:
    return tuple(x) if isinstance(x, list) else x


def _check_unchanged(now: Path, then: Path) -> None:
    new, old = (file.read_text().splitlines() for file in (now, then))
    if new == old:
        return
    pairs = zip([*new, *[""] * len(old)], [*old, *[""] * len(new)], strict=False)
    line = next(i for i, (a, b) in enumerate(pairs, 1) if a != b)
    raise RunError(
        f"{now} has changed since the run began, first in line {line}: resume with"
        f" --accept-changed-file, or put back what it was, {then}."
    )


def with_tricks(
    recipe: OwnRecipe, setup: Setup, added: list[str], removed: list[str]
) -> Setup:
    """Put tricks on a setup by `name` or `name=number`, and take others away.

    Raises:
      ValueError: see `Setup.take`, `Setup.without` and `find_trick`.
    """
    chosen = [_parsed(recipe, text) for text in added]
    return setup.take(*chosen).without(*removed)


def _parsed(recipe: OwnRecipe, text: str) -> Trick:
    name, equals, number = text.partition("=")
    found = recipe.trick(name)
    return found(_number(number)) if equals else found


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)
