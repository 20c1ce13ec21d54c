"""`optix-tricks train --resume`: on to the end, or for longer than was said."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from optix_tricks.cli._deterministic import make_deterministic
from optix_tricks.cli._options import UsageError, folded
from optix_tricks.cli._places import Places
from optix_tricks.cli._runs import find_runs
from optix_tricks.cli._train import run_settings

ALONE = (
    "--resume RUN stands alone, but for --epochs and where it runs (--devices, --layout):"
    " its settings are those in its config.json; start a new run, with --config RUN, to"
    " change them."
)


@dataclasses.dataclass(frozen=True)
class ResumeOptions(Places):
    """Which run goes on, to its end or for longer."""

    resume: Annotated[Path, tyro.conf.arg(metavar="RUN")] = Path()
    """the directory of the run; its settings are those in its config.json"""
    epochs: int | None = None
    """train it for longer: so many epochs in all, those done included"""
    accept_changed_file: bool = False
    """go on though the recipe's file has changed since"""
    debug: bool = False
    """show the traceback of an error"""


def resume(arguments: list[str]) -> None:
    """Go on with a run that was stopped, or train a finished one for longer."""
    options, wanted = _options(arguments)
    from optix_tricks.recipes import reconfigure
    from optix_tricks.training import RunDirectory
    from optix_tricks.training._hosts import is_first
    from optix_tricks.training._resuming import has_checkpoint
    from optix_tricks.training._run_directory import read_settings

    path = options.resume
    if is_first():
        run, name, fields = RunDirectory.reopen(path)
    else:
        name, fields = read_settings(path, said_as=f"--resume {path}")
        run = RunDirectory.follow(path)
    with run:  # closed whatever is refused
        if wanted not in (None, name):
            raise UsageError(f"run {path} is of recipe {name!r}, got {wanted!r}.")
        before = settings = reconfigure(
            path, name, fields, accept_changed_file=options.accept_changed_file
        )
        result = _finished(path)
        if options.epochs is not None:
            settings = _for_longer(settings, options.epochs, path, result)
        elif result:
            if is_first():
                print(folded(_end_of(path, result)))
            return
        if settings.deterministic:
            make_deterministic()

        def reopened(own: Any) -> Any:
            told = dataclasses.replace(settings, stream=own.stream).as_json()
            run.write_json("config.json", {"recipe": name, "config": told})
            return run

        def about(dataset: Any) -> str:
            if settings.setup.epochs == before.setup.epochs:
                return ""
            return _of_the_rate(before.setup, settings.setup, dataset, _epochs_of(path))

        own = settings.resumed() if has_checkpoint(run.path) else settings
        run_settings(own, reopened, options, resume=True, about=about)


def _options(arguments: list[str]) -> tuple[ResumeOptions, str | None]:
    """The options, and the recipe if the user named it."""
    if "--resume" in arguments:
        named = arguments[arguments.index("--resume") + 1 :][:1]
        if not named or named[0].startswith("--"):
            found = sorted(find_runs(Path("runs")), key=lambda run: run.date)
            newest = f", such as the newest here, {found[-1].path}" if found else ""
            raise UsageError(
                f"--resume needs a run's directory{newest}: `optix-tricks runs` lists"
                " yours."
            )
    options, others = tyro.cli(
        ResumeOptions,
        prog="optix-tricks train",
        description=f" {resume.__doc__}",
        args=arguments,
        return_unknown_args=True,
    )
    match others:
        case []:
            return options, None
        case [recipe] if not recipe.startswith("-"):
            return options, recipe
    raise UsageError(ALONE)


def _epochs_of(path: Path) -> int:
    """After how many epochs the newest checkpoint is."""
    from optix_tricks.training._checkpoint import numbers
    from optix_tricks.training._resuming import WHOLE

    return max(numbers(path / WHOLE), default=0)


def _finished(path: Path) -> Mapping[str, Any]:
    """The result of a run that has nothing left to do; of any other nothing."""
    from optix_tricks.training._checksums import damaged
    from optix_tricks.training._resuming import WHOLE

    try:
        result = dict(json.loads((path / "result.json").read_text()))
        last = math.ceil(result.get("best_epoch") or result["epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    is_there = last == _epochs_of(path) and damaged(path / WHOLE / str(last)) is None
    return result if is_there else {}


def _for_longer(settings: Any, epochs: int, path: Path, result: Mapping[str, Any]) -> Any:
    """The settings with another number of epochs.

    Raises:
      UsageError: if so many are done, or the run ended by a rule, or within an epoch.
    """
    total, done = settings.setup.epochs, _epochs_of(path)
    if epochs <= done:
        raise UsageError(
            f"--epochs {epochs}: run {path} has {done} behind it; give more."
        )
    if result and result["epochs"] < total:
        raise UsageError(
            f"run {path} was ended after {result['epochs']:g} of {total:g} epochs by its"
            f" own rule: begin a new one with its weights, --from {path}."
        )
    if result and total != int(total):
        raise UsageError(
            f"run {path} ended within an epoch, after {total:g}: a longer one would miss"
            f" the rest of it; begin a new one with its weights, --from {path}."
        )
    setup = dataclasses.replace(settings.setup, epochs=epochs)
    return dataclasses.replace(settings, setup=setup)


def _end_of(path: Path, result: Mapping[str, Any]) -> str:
    from optix_tricks.cli._runs import said_of

    epochs = math.ceil(result["epochs"])
    return (
        f"run {path} is finished: {said_of(result)}. There is nothing left to do;"
        f" --epochs {2 * epochs} trains it for longer, and its page is"
        f" {path / 'report.html'}"
    )


def _of_the_rate(before: Any, now: Any, dataset: Any, done: int) -> str:
    """What a longer run does to the learning rate."""
    from optix_tricks.tricks._plan import rate_after

    old, new = (rate_after(setup, dataset, done) for setup in (before, now))
    if math.isclose(old, new, rel_tol=1e-6):
        return (
            f"The learning rate does not depend on the run's length: it goes on at"
            f" {new:.3g}."
        )
    return (
        f"The learning rate follows the run's length: after epoch {done} it is {new:.3g},"
        f" where it had come to {old:.3g}. So does whatever else is a share of the run,"
        f" which therefore does not end like one that had {now.epochs:g} epochs from the"
        " start."
    )
