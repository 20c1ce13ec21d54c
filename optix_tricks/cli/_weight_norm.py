"""`optix-tricks diagnose weight-norm`."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from optix_tricks.cli._diagnose import counting
from optix_tricks.cli._options import RunOptions, UsageError, like, new_path, parsed

WEIGHT_NORM = "weight-norm"
COMMAND = f"diagnose {WEIGHT_NORM}"


@dataclasses.dataclass(frozen=True)
class StudyOptions(RunOptions):
    """What to run, and where it goes."""

    run_dir: Path | None = None
    """the directory of its files; runs/weight-norm-TIME if not given"""
    parts: tuple[str, ...] = (
        "schedules",
        "constant",
        "lars",
        "gradients",
        "batch",
        "rates",
    )
    """those to run"""


@dataclasses.dataclass(frozen=True)
class ResumeOptions:
    """What to go on with; the settings are those of its config.json."""

    resume: Path
    """the directory of an earlier run"""
    parts: tuple[str, ...] = StudyOptions.parts
    """those to run; what is there already is not run again"""
    debug: bool = False
    """show the traceback of an error"""


def weight_norm(arguments: list[str]) -> None:
    """Run Page's experiments on weight decay, or go on with them."""
    from optix_tricks.studies import run_study
    from optix_tricks.studies._weight_norm import PARTS, Config, check_config
    from optix_tricks.training import RunDirectory, RunError, load_dataset

    config, options, directory = _opened(arguments, Config, RunDirectory, RunError)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        raise UsageError(
            f"parts must be of {', '.join(PARTS)}, got {unknown[0]!r}."
            + like(unknown[0], PARTS)
        )
    try:
        check_config(config)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    dataset = load_dataset(config.dataset, data_dir=config.data_dir)
    console = Console()
    with directory() as run, counting(console) as bars:
        tasks: dict[str, Any] = {}

        def on_step(part: str, done: int, total: int) -> None:
            if part not in tasks:
                tasks[part] = bars.add_task(part, total=total)
            bars.update(tasks[part], completed=done + 1)

        try:
            found = run_study(config, dataset, run, parts=options.parts, on_step=on_step)
        except KeyboardInterrupt as stop:
            command = f"optix-tricks diagnose weight-norm --resume {run.path} --parts"
            way_out = f"; go on with: {' '.join([command, *options.parts])}"
            raise KeyboardInterrupt(way_out) from stop
    for name in ("sgd", "momentum", "constant"):
        part = found.get("constant" if name == "constant" else "schedules", {})
        if name in part:
            console.print(_layers(name, part[name]))
    if "gradients" in found:
        console.print(_gradients(found["gradients"]))
    for part in ("lars", "batch"):
        if part in found:
            console.print(_trainings(part, found[part]))
    console.print(f"files and figures in {run.path}", highlight=False, soft_wrap=True)


def _opened(
    arguments: list[str], config_type: Any, run_directory: Any, run_error: Any
) -> tuple[Any, StudyOptions, Callable[[], Any]]:
    """Settings, options, and a function that opens a new directory or an old one."""
    if "--resume" in arguments:
        given = parsed(ResumeOptions, COMMAND, weight_norm.__doc__, arguments)
        run, name, fields = run_directory.reopen(given.resume)
        with run:
            if name != WEIGHT_NORM:
                raise run_error(
                    f"run {given.resume} is of {name!r}, not of {WEIGHT_NORM!r}."
                )
            try:
                config = config_type(**fields)
            except TypeError as error:
                raise run_error(
                    f"the settings in {given.resume / 'config.json'} are not those of "
                    f"this version: {error}."
                ) from error
        options = StudyOptions(parts=given.parts)
        return config, options, lambda: run_directory.reopen(given.resume)[0]

    def together(config: Any, options: StudyOptions) -> tuple[Any, StudyOptions]:
        return config, options

    together.__annotations__["config"] = config_type
    together.__doc__ = "Run Page's experiments on weight decay."
    config, options = tyro.cli(
        together,
        prog=f"optix-tricks {COMMAND}",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    path = options.run_dir or new_path(WEIGHT_NORM)
    return (
        config,
        options,
        lambda: run_directory.start(
            path, recipe=WEIGHT_NORM, config=dataclasses.asdict(config)
        ),
    )


def _layers(name: str, found: dict[str, Any]) -> Table:
    """Measured against predicted relative updates of each layer."""
    table = Table(
        "layer",
        "measured",
        "/ predicted",
        "/ corrected",
        "correlation",
        title=f"{name}: rate |g|/|w|, steps {found['from_step']} to {found['to_step']}; "
        f"test accuracy {found['test_accuracy']:.2%}",
    )
    for row in found["layers"]:
        measured = row["measured"]
        ratios = (
            (
                f"{measured / row['predicted']:.3f}",
                f"{measured / row['corrected']:.3f} ± {row['standard_error']:.3f}",
            )
            if row["scale_invariant"]
            else ("not invariant", "")
        )
        table.add_row(
            row["layer"].removesuffix("/kernel"),
            f"{measured:.5f}",
            *ratios,
            f"{row['autocorrelation']:+.3f}",
        )
    return table


def _gradients(found: dict[str, Any]) -> Table:
    """Gradient norms by batch size, beside those that noise alone would give."""
    table = Table(
        "batch",
        "|g|",
        "|g| sqrt(batch), first 1",
        title="gradients at one point; "
        f"noise scale {found['noise'] / found['signal']:,.0f} examples",
    )
    sizes, squares = found["batch_sizes"], found["square_norm"]
    for size, square in zip(sizes, squares, strict=True):
        relative = (size * square / sizes[0] / squares[0]) ** 0.5
        table.add_row(f"{size}", f"{square**0.5:.4f}", f"{relative:.2f}")
    return table


def _trainings(name: str, found: dict[str, Any]) -> Table:
    """Test accuracies of each arm over its seeds."""
    table = Table("training", "test accuracy, by seed", title=name)
    for arm, row in found.items():
        seeds = ["diverged" if x is None else f"{x:.2%}" for x in row["test_accuracy"]]
        table.add_row(arm, "  ".join(seeds))
    return table
