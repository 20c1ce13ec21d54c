"""`optix-tricks train`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax.tree import leaves
from rich.console import Console

from optix_tricks.cli._deterministic import make_deterministic
from optix_tricks.cli._evaluate import of_test
from optix_tricks.cli._options import UsageError, new_path
from optix_tricks.cli._places import Places, TrainOptions, join, norms_of, places_of


def train(arguments: list[str]) -> None:
    """Train a recipe, or go on with a run."""
    from optix_tricks.cli._settings import settings_of
    from optix_tricks.training import RunDirectory
    from optix_tricks.training._hosts import is_first, together, told_by_first
    from optix_tricks.training._run_directory import check_new

    join(places_of(arguments)[0])
    if "--resume" in arguments:
        _resume(arguments)
        return
    settings, options = settings_of("train", arguments, TrainOptions)
    settings = norms_of(settings, options)
    name = settings.recipe.name
    path = Path(told_by_first(str(options.run_dir or new_path(name))))

    def start() -> RunDirectory:
        check_new(path)
        together("all have seen that it is new")
        if not is_first():
            together("it is made")
            return RunDirectory.follow(path)
        run = RunDirectory.start(path, recipe=name, config=settings.as_json())
        settings.keep_source(run.path)
        together("it is made")
        return run

    _run(settings, start, options, resume=False, profile=options.profile)


def _resume(arguments: list[str]) -> None:
    from optix_tricks.recipes import reconfigure
    from optix_tricks.training import RunDirectory
    from optix_tricks.training._hosts import is_first
    from optix_tricks.training._resuming import has_checkpoint
    from optix_tricks.training._run_directory import read_settings

    places, arguments = places_of(arguments)
    accepted = "--accept-changed-file" in arguments
    path, wanted = _resumed([x for x in arguments if x != "--accept-changed-file"])
    if is_first():
        run, name, fields = RunDirectory.reopen(path)
    else:
        name, fields = read_settings(path, said_as=f"--resume {path}")
        run = RunDirectory.follow(path)
    with run:  # closed whatever is refused
        if wanted not in (None, name):
            raise UsageError(f"run {path} is of recipe {name!r}, got {wanted!r}.")
        settings = reconfigure(path, name, fields, accept_changed_file=accepted)
        if settings.deterministic:
            make_deterministic()
        if has_checkpoint(run.path):
            settings = settings.resumed()
        _run(settings, lambda: run, places, resume=True)


def _resumed(arguments: list[str]) -> tuple[Path, str | None]:
    """The run to resume, and the recipe if the user named it."""
    match [argument for argument in arguments if argument != "--debug"]:
        case ["--resume", path]:
            return Path(path), None
        case [recipe, "--resume", path] if not recipe.startswith("-"):
            return Path(path), recipe
    raise UsageError(
        "--resume RUN stands alone, but for where it runs (--devices, --layout): its"
        " settings are those in its config.json; start a new run to change them."
    )


def _run(
    settings: Any,
    directory: Callable[[], Any],
    places: Places,
    *,
    resume: bool,
    profile: int | None = None,
) -> None:
    from optix_tricks.reports import write_report
    from optix_tricks.reports._read import PROFILE, find_trace
    from optix_tricks.training import train
    from optix_tricks.training._hosts import check_agreement, is_first, together
    from optix_tricks.training._resuming import flat
    from optix_tricks.training._run_devices import place_run

    check_agreement(flat(settings.as_json() | {"data_dir": None}))
    try:
        dataset = settings.load()
        job = settings.job(dataset)
        placed = place_run(job.batch_size, devices=places.devices, layout=places.layout)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    run = directory()  # only now: a wrong argument leaves nothing behind
    console = Console(quiet=not is_first())
    with run:
        console.print(
            f"{dataset.name}: {dataset.train.size:,} training{_validation(dataset)} and "
            f"{dataset.test.size:,} test examples{_classes(dataset)}{_on(placed)}; "
            f"run directory {run.path}",
            highlight=False,
        )
        for each in settings.setup.tricks:
            if each.name == "pretrained":
                said = _taken_from(dict(each.numbers)["run"], job)
                console.print(said, highlight=False, soft_wrap=True)
        try:
            where: Any = {"devices": places.devices, "layout": places.layout}
            _, result = train(job, dataset, run, resume=resume, profile=profile, **where)
        except KeyboardInterrupt as stop:
            way_out = f"{stop}; continue with: optix-tricks train --resume {run.path}"
            stop.args = (way_out,)
            raise
    if not run.writes:
        together("the page is written")
        return
    page = write_report(run.path)
    together("the page is written")
    table = of_test(result.test)
    if result.validation is not None:
        table.add_row("validation loss", f"{result.validation.loss:.4f}")
    if result.best_epoch is not None:
        table.add_row("tested after epoch", f"{result.best_epoch}, the best")
    if result.kept_epoch is not None:
        best = f"after epoch {result.kept_epoch:g}, by {job.keep_best}"
        table.add_row("best checkpoint", f"{best}; predict ... --checkpoint best")
    table.add_row("epochs", f"{result.epochs} ({result.steps:,} steps)")
    table.add_row("training time", f"{result.seconds:.1f} s, evaluation not counted")
    table.add_row("parameters", f"{result.parameters:,}")
    table.add_row("curves", str(page.parent / "figures" / "curves.png"))
    table.add_row("page", str(page))
    console.print(table)
    if trace := find_trace(run.path):
        console.print(
            f"The profile is {trace}: open it at https://ui.perfetto.dev, or look at the"
            f" whole by pip install xprof; xprof --logdir {run.path / PROFILE}",
            highlight=False,
            soft_wrap=True,
        )


def _validation(dataset: Any) -> str:
    if dataset.validation is None:
        return ""
    return f", {dataset.validation.size:,} validation"


def _classes(dataset: Any) -> str:
    return f", {dataset.num_classes} classes" if dataset.num_classes else ""


def _on(placed: Any) -> str:
    if placed.mesh is None:
        return ""
    count = len({device.process_index for device in placed.mesh.devices.flat})
    hosts = f" of {count} processes" if count > 1 else ""
    return f"; {placed.size} devices{hosts}, {placed.layout}"


def _taken_from(run: str, job: Any) -> str:
    """What is said of the arrays of another run: how many are taken, and which not."""
    from optix_tricks.tricks._starts import taken_over

    own = {"params": job.params, "batch_stats": job.batch_stats}
    _, report = taken_over(own, run)
    lines = [f"{len(report.loaded)} of {len(leaves(own))} arrays are those of {run}"]
    lines += [f"  as drawn: {name}, which is not there" for name in report.missing]
    lines += [f"  as drawn: {name}, {x}" for name, x in report.mismatched.items()]
    lines += [f"  not taken: {name}" for name in report.unexpected]
    return "\n".join(lines)
