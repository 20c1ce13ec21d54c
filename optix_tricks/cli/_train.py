"""`optix-tricks train`."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console

from optix_tricks._extras import needed
from optix_tricks.cli._evaluate import of_test
from optix_tricks.cli._options import UsageError, folded, new_path
from optix_tricks.cli._places import Places, TrainOptions, join, norms_of, places_of

OF_TRAIN = ("devices", "layout", "workers")


def train(arguments: list[str]) -> None:
    """Train a recipe, or go on with a run."""
    from optix_tricks.cli._settings import settings_of

    join(places_of(arguments)[0])
    if any(word.partition("=")[0] == "--resume" for word in arguments):
        from optix_tricks.cli._resume import resume

        resume(arguments)
        return
    settings, options = settings_of("train", arguments, TrainOptions)
    from optix_tricks.training import RunDirectory
    from optix_tricks.training._hosts import is_first, together, told_by_first
    from optix_tricks.training._run_directory import check_new

    settings = norms_of(settings, options)
    name = settings.recipe.name
    path = Path(told_by_first(str(options.run_dir or new_path(name))))

    def start(settings: Any) -> RunDirectory:
        check_new(path)
        together("all have seen that it is new")
        if not is_first():
            together("it is made")
            return RunDirectory.follow(path)
        run = RunDirectory.start(path, recipe=name, config=settings.as_json())
        settings.keep_source(run.path)
        together("it is made")
        return run

    run_settings(settings, start, options, resume=False, profile=options.profile)


def run_settings(
    settings: Any,
    directory: Callable[[Any], Any],
    places: Places,
    *,
    resume: bool,
    profile: int | None = None,
    about: Callable[[Any], str] = lambda dataset: "",
) -> None:
    """Train, and print what is done, what it came to and what to do next."""
    from optix_tricks.training import train
    from optix_tricks.training._hosts import check_agreement, is_first, together
    from optix_tricks.training._memory import read_memory
    from optix_tricks.training._resuming import flat
    from optix_tricks.training._run_devices import place_run

    for name in ("matplotlib", "PIL"):  # which are imported once there is a page to draw
        if find_spec(name) is None:
            needed(name)
    check_agreement(flat(settings.as_json() | {"data_dir": None}))
    try:
        room = None if places.memory is None else read_memory(places.memory)
        dataset = settings.load(room=room)
        settings = settings.of(dataset)
        job = settings.job(dataset, at_once=True)
        placed = place_run(job.batch_size, devices=places.devices, layout=places.layout)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    run = directory(settings)  # only now: a wrong argument leaves nothing behind
    console = Console(quiet=not is_first())
    with run:
        console.print(
            f"{dataset.name}: {dataset.train.size:,} training{_validation(dataset)} and "
            f"{dataset.test.size:,} test examples{_classes(dataset)}{_stream(dataset)}"
            f"{_on(placed)}; "
            f"run directory {run.path}",
            highlight=False,
        )
        if said := about(dataset):
            console.print(folded(said), highlight=False)
        for each in settings.setup.tricks:
            if each.name == "pretrained":
                said = _taken_from(dict(each.numbers)["run"], job)
                console.print(said, highlight=False, soft_wrap=True)
        try:
            where: Any = {name: getattr(places, name) for name in OF_TRAIN}
            _, result = train(job, dataset, run, resume=resume, profile=profile, **where)
        except KeyboardInterrupt as stop:
            way_out = f"{stop}; continue with: optix-tricks train --resume {run.path}"
            stop.args = (way_out,)
            raise
    if not run.writes:
        together("the page is written")
        return
    from optix_tricks.reports import write_report
    from optix_tricks.reports._read import PROFILE, find_trace

    try:
        page = write_report(run.path)
    except OSError as error:
        raise RuntimeError(
            f"the run has ended well, but its page cannot be written ({error.filename}:"
            f" {error.strerror}): draw it by optix-tricks report {run.path}."
        ) from error
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
    table.add_row("live view", f"tensorboard --logdir {quote(str(run.path))}")
    console.print(table)
    next_step = f"optix-tricks diagnose run {quote(str(run.path))}"
    console.print(
        f"What holds it back, if anything:  {next_step}", highlight=False, soft_wrap=True
    )
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


def _stream(dataset: Any) -> str:
    size, _, channels = dataset.image_shape if dataset.streamed else (0, 0, 0)
    return f", streamed, {size} x {size} x {channels}" if dataset.streamed else ""


def _on(placed: Any) -> str:
    if placed.mesh is None:
        return ""
    count = len({device.process_index for device in placed.mesh.devices.flat})
    hosts = f" of {count} processes" if count > 1 else ""
    return f"; {placed.size} devices{hosts}, {placed.layout}"


def _taken_from(run: str, job: Any) -> str:
    """What is said of the arrays of another run: how many are taken, and which not."""
    from jax.tree import leaves

    from optix_tricks.tricks._starts import taken_over

    own = {"params": job.params, "batch_stats": job.batch_stats}
    _, report = taken_over(own, run)
    lines = [f"{len(report.loaded)} of {len(leaves(own))} arrays are those of {run}"]
    lines += [f"  as drawn: {name}, which is not there" for name in report.missing]
    lines += [f"  as drawn: {name}, {x}" for name, x in report.mismatched.items()]
    lines += [f"  not taken: {name}" for name in report.unexpected]
    return "\n".join(lines)
