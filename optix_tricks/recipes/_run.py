"""A run of a recipe: its settings as JSON, and the way back."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from optix_tricks.recipes._recipe import Recipe, is_own
from optix_tricks.recipes._registry import find_recipe, is_recipe
from optix_tricks.recipes._restoring import restore
from optix_tricks.training import (
    Dataset,
    Job,
    RunError,
    load_dataset,
    split_validation,
)
from optix_tricks.training._dataset import PathLike
from optix_tricks.tricks import Setup, Trick
from optix_tricks.tricks._plan import Plan
from optix_tricks.tricks._setup import OF_RUN
from optix_tricks.tricks._targets import check_classes

FORMAT = 3  # of the settings
IMAGE_SIZE = 224  # of pictures of many sizes, where nobody says another
COPY = "recipe.py"  # in the run's directory, of a file or module of one's own


@dataclasses.dataclass(frozen=True)
class Run:
    """A recipe, the setup that it came to, and the data."""

    recipe: Recipe
    setup: Setup
    dataset: str | None = None  # None where the recipe has its own
    data_dir: str | None = None
    seed: int = 0
    validation: float = 0.0  # the share of the training examples that is set aside
    deterministic: bool = False  # the same bits at every run on a GPU
    stream: bool | None = None  # read pictures in each epoch; None: where they do not fit
    picture_size: int | None = (
        None  # of pictures of many sizes; None: of the setup's crop
    )

    def load(self, *, room: int | None = None) -> Dataset:
        """Return the data: the recipe's own, or the data set of this name; split.

        Args:
          room: bytes that decoded pictures may take; see `load_dataset`.

        Raises:
          ValueError: if its examples are of one class alone; see `split_validation`.

        Warns:
          AbsentClass: if test examples are of classes that no training example has.
        """
        if self.recipe.data is not None:
            data = self.recipe.data()
        else:
            data = load_dataset(
                str(self.dataset),
                data_dir=self.data_dir,
                stream=self.stream,
                room=room,
                image_size=self.picture_size or self._size_of_crop() or IMAGE_SIZE,
            )
        check_classes(data)
        if not self.validation:
            return data
        return split_validation(data, self.validation, seed=self.seed)

    def of(self, dataset: Dataset) -> "Run":
        """Return the same run with what was decided as the data were loaded."""
        return dataclasses.replace(self, stream=dataset.streamed)

    def at_seed(self, seed: int) -> "Run":
        """Return the same run of another seed."""
        return dataclasses.replace(self, seed=seed)

    def number(self, name: str) -> float:
        """Return a number of the setup.

        Raises:
          ValueError: if no trick, or several, have one of this name.
        """
        owner, own = self.setup.owner(name)
        (numbers,) = (t.numbers for t in self.setup.tricks if t.name == owner)
        return float(dict(numbers)[own])

    def from_directory(self, data_dir: PathLike) -> "Run":
        """Return the same run with its data elsewhere."""
        return dataclasses.replace(self, data_dir=os.fspath(data_dir))

    def _size_of_crop(self) -> int | None:
        """Of the trick that crops, if it has a size."""
        numbers = [dict(x.numbers) for x in self.setup.tricks if x.name == "resized_crop"]
        return numbers[0]["size"] if numbers else None

    def in_float32(self) -> "Run":
        """Return the same run with activations in float32, to measure with."""
        names = [each.name for each in self.setup.filled()["precision"]]
        return dataclasses.replace(self, setup=self.setup.without(*names))

    def resumed(self) -> "Run":
        """Return the same run for weights of its own: it reads no other run's again."""
        loading = [
            each.name
            for each in self.setup.tricks
            if each.place == "loaded" or each.slots == ("begin",)
        ]
        return dataclasses.replace(self, setup=self.setup.without(*loading))

    def plan(self, dataset: Dataset, *, at_once: bool = False) -> Plan:
        """Build what jobs of any seed share, and optimisers of any rate.

        `at_once` is for a process that builds one: see `optix_tricks.tricks.Context`.
        """
        return self.setup.plan(dataset, restore=restore, at_once=at_once)

    def job(self, dataset: Dataset, *, at_once: bool = False) -> Job:
        """Build the job."""
        return self.plan(dataset, at_once=at_once).job(self.seed)

    def as_json(self) -> dict[str, Any]:
        """Return the settings: what numbers cannot tell is in the recipe's module."""
        of_pictures = {"stream": self.stream, "picture_size": self.picture_size}
        return {
            "format": FORMAT,
            "dataset": self.dataset,
            "data_dir": self.data_dir,
            "seed": self.seed,
            "validation": self.validation,
            "deterministic": self.deterministic,
            **{name: x for name, x in of_pictures.items() if x},
            **{name: getattr(self.setup, name) for name in OF_RUN},
            "tricks": [[each.name, dict(each.numbers)] for each in self.setup.tricks],
        }

    def keep_source(self, directory: PathLike) -> None:
        """Copy the recipe's file into the run, if it is one's own."""
        if is_own(self.recipe.name):
            shutil.copyfile(self.recipe.path, Path(directory) / COPY)


def new_run(name: str) -> Run:
    """Return a recipe's run as it is without another word.

    Raises:
      RunError: see `find_recipe`.
    """
    recipe = find_recipe(name)
    data = recipe.dataset if recipe.data is None else None
    return Run(recipe, recipe.setup(), dataset=data)


def reconfigure(
    path: PathLike,
    name: str,
    fields: dict[str, Any],
    *,
    accept_changed_file: bool = False,
    from_copy: bool = False,
) -> Run:
    """Return an earlier run: its recipe, tricks and numbers.

    A file of one's own must be what it was; `from_copy` reads the run's copy instead,
    as is right for whoever only looks at it.

    Raises:
      RunError: if there is no such recipe, the settings are of another format or of a
        trick that this version lacks, or the file has changed since and that is not
        accepted.
    """
    if not is_recipe(name):
        raise RunError(
            f"run {path} is of {name!r}, which is no recipe here and cannot be made again"
            " from the run's directory: go on with it in the program that began it, by"
            " train(..., resume=True)."
        )
    if fields.get("format") != FORMAT:
        raise RunError(
            f"the settings of run {path} were written by {_version(path)}, in a form that"
            " this version cannot rebuild (the format in its fields is"
            f" {fields.get('format')!r}, not {FORMAT}): go on with that one. The page of"
            " the run and `diagnose run` need no settings."
        )
    copy = Path(path) / COPY
    from_copy = from_copy and name.endswith(".py")
    recipe = find_recipe(str(copy) if from_copy else name)
    if is_own(name) and not accept_changed_file and not from_copy:
        _check_unchanged(recipe.path, copy)
    try:
        tricks = tuple(
            recipe.trick(trick)(**{k: _as_tuple(x) for k, x in numbers.items()})
            for trick, numbers in fields["tricks"]
        )
    except ValueError as error:
        raise RunError(f"run {path}: {error}") from error
    of_run = {name: fields[name] for name in OF_RUN if name in fields}
    setup = dataclasses.replace(recipe.setup(), **of_run, tricks=tricks)
    names = ("dataset", "data_dir", "seed", "validation")
    settings = {name: fields[name] for name in names}
    settings["deterministic"] = fields.get("deterministic", False)
    settings["stream"] = fields.get("stream", False)
    settings["picture_size"] = fields.get("picture_size")
    return Run(recipe, setup, **settings)


def _version(path: PathLike) -> str:
    try:
        said = json.loads((Path(path) / "environment.json").read_text())
        return f"optix_tricks {said['optix_tricks']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another version"


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


def with_tricks(run: Run, added: list[str], removed: list[str]) -> Run:
    """Put tricks on by `name` or `name=number`, and take others away.

    Raises:
      ValueError: see `Setup.take`, `Setup.without` and `find_trick`.
    """
    chosen = [parsed(run.recipe, text) for text in added]
    setup = run.setup.take(*chosen).without(*removed)
    return dataclasses.replace(run, setup=setup)


def parsed(recipe: Recipe, text: str) -> Trick:
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
