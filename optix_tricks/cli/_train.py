"""`optix-tricks train`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from optix_tricks.cli._options import UsageError, new_path, parse, recipe_of


def train(arguments: list[str]) -> None:
    """Train a recipe, or go on with a run."""
    from optix_tricks.recipes import PackagedRun, reconfigure
    from optix_tricks.recipes._own import is_own
    from optix_tricks.training import RunDirectory

    if "--resume" in arguments:
        accepted = "--accept-changed-file" in arguments
        path, wanted = _resumed([x for x in arguments if x != "--accept-changed-file"])
        run, name, fields = RunDirectory.reopen(path)
        with run:  # closed whatever is refused
            if wanted not in (None, name):
                raise UsageError(f"run {path} is of recipe {name!r}, got {wanted!r}.")
            settings = reconfigure(path, name, fields, accept_changed_file=accepted)
            _run(settings, lambda: run, resume=True)
        return
    if arguments and is_own(arguments[0]):
        _train_own(*arguments)
        return
    name, recipe, flags = recipe_of("train", arguments)
    config, options = parse("train", name, recipe, flags)
    settings = PackagedRun(recipe, config)
    path = options.run_dir or new_path(name)

    def start() -> RunDirectory:
        return RunDirectory.start(path, recipe=name, config=settings.as_json())

    _run(settings, start, resume=False)


def _train_own(name: str, *flags: str) -> None:
    from optix_tricks.cli._own import own_run
    from optix_tricks.recipes._own import load_own
    from optix_tricks.training import RunDirectory

    own, options = own_run("train", load_own(name), list(flags))
    path = options.run_dir or new_path(Path(name).stem if name.endswith(".py") else name)

    def start() -> RunDirectory:
        run = RunDirectory.start(path, recipe=name, config=own.as_json())
        own.keep_source(run.path)
        return run

    _run(own, start, resume=False)


def _resumed(arguments: list[str]) -> tuple[Path, str | None]:
    """The run to resume, and the recipe if the user named it."""
    match [argument for argument in arguments if argument != "--debug"]:
        case ["--resume", path]:
            return Path(path), None
        case [recipe, "--resume", path] if not recipe.startswith("-"):
            return Path(path), recipe
    raise UsageError(
        "--resume RUN stands alone: the run's settings are those in its config.json; "
        "start a new run to change them."
    )


def _run(settings: Any, directory: Callable[[], Any], *, resume: bool) -> None:
    from optix_tricks.reports import write_report
    from optix_tricks.training import train
    from optix_tricks.training._metrics import written

    dataset = settings.load()
    try:
        job = settings.job(dataset)
    except ValueError as error:
        raise UsageError(str(error)) from error
    run = directory()  # only now: a wrong argument leaves nothing behind
    console = Console()
    with run:
        console.print(
            f"{dataset.name}: {dataset.train.size:,} training and "
            f"{dataset.test.size:,} test examples{_classes(dataset)}; "
            f"run directory {run.path}",
            highlight=False,
        )
        try:
            _, result = train(job, dataset, run, resume=resume)
        except KeyboardInterrupt as stop:
            way_out = f"; continue with: optix-tricks train --resume {run.path}"
            raise KeyboardInterrupt(way_out) from stop
    page = write_report(run.path)
    table = Table(show_header=False)
    for name, value in result.test.metrics.items():
        table.add_row(f"test {name.replace('_', ' ')}", f"[bold]{written(name, value)}")
    table.add_row("test loss", f"{result.test.loss:.4f} of {result.test.size:,} examples")
    table.add_row("epochs", f"{result.epochs} ({result.steps:,} steps)")
    table.add_row("training time", f"{result.seconds:.1f} s, evaluation not counted")
    table.add_row("parameters", f"{result.parameters:,}")
    table.add_row("curves", str(page.parent / "figures" / "curves.png"))
    table.add_row("page", str(page))
    console.print(table)


def _classes(dataset: Any) -> str:
    return f", {dataset.num_classes} classes" if dataset.num_classes else ""
