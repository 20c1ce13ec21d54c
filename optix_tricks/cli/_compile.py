"""`optix-tricks compile`."""

import argparse
import dataclasses
import time
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from optix_tricks.cli._options import UsageError
from optix_tricks.cli._places import Layout

TARGETS = "compile needs --for TARGET: h100, h100:COUNT, v5e or a topology, v5e:4x4."


@dataclasses.dataclass(frozen=True)
class CompileOptions:
    """How it is laid out on the devices that --for names: h100:8, v5e:4x4."""

    mesh: int | None = None
    """the batch is split over so many of the target's devices; all if not given"""
    layout: Layout = "replicated"
    """of the state on them: copies, or split: the optimiser's, or parameters too"""
    packed: bool = False
    """keep parameters and optimiser state in a few buffers"""
    image_size: int | None = None
    """compile for pictures of so many pixels a side, and read no data"""
    classes: int = 1000
    """of these pictures"""
    debug: bool = False
    """show the traceback of an error"""


def compile_step(arguments: list[str]) -> None:
    """Compile a recipe's step for devices that are not there, and print what it costs."""
    from optix_tricks.cli._settings import settings_of

    target, arguments = _target(arguments)
    if not target:  # which --help needs not
        settings_of("compile", arguments, CompileOptions)
    import jax

    from optix_tricks.ahead import (
        Facts,
        compile_only_devices,
        lower_step,
        roofline,
        target_chip,
    )
    from optix_tricks.cli._kept_facts import kept_facts

    if jax.config.values["jax_platforms"] is None:  # the step's constants need a home
        jax.config.update("jax_platforms", "cpu")
    settings, options = settings_of("compile", arguments, CompileOptions)
    console = Console()
    try:
        devices = _some(compile_only_devices(target), options.mesh)
        dataset = _dataset(settings, options)
        job = settings.job(dataset)
        placed = {"packed": options.packed, "layout": options.layout}
        with _Clock(console, f"tracing {settings.recipe.name}"):
            lowered, flops = lower_step(job, dataset, devices, **placed)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error

    def compiled() -> Any:
        with _Clock(console, f"compiling for {target}, which may take minutes"):
            return lowered.compile()

    facts: Facts = kept_facts(lowered.as_text(), target, compiled)
    chip = target_chip(target)
    estimate = roofline(facts, flops / len(devices), chip)
    console.print(_table(facts, flops, job.batch_size, len(devices), chip, estimate))
    console.print(
        "Compiled, not run. The estimate takes arithmetic, memory and links at the rates"
        " of the data sheet, all at once: launches and waiting come on top.",
        highlight=False,
    )


def _target(arguments: list[str]) -> tuple[str, list[str]]:
    """The target, and what is left."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--for", dest="target", nargs="?")
    given, rest = parser.parse_known_args(arguments)
    if not given.target and not {"--help", "-h"} & {*rest}:
        raise UsageError(TARGETS)
    return given.target or "", rest


def _some(devices: list[Any], mesh: int | None) -> list[Any]:
    if mesh is not None and not 1 <= mesh <= len(devices):
        raise ValueError(
            f"--mesh must be from 1 to the target's {len(devices)} devices, got {mesh}."
        )
    return devices[:mesh]


def _dataset(settings: Any, options: CompileOptions) -> Any:
    if options.image_size is None:
        return settings.load()
    import numpy as np

    from optix_tricks.training import Batch, Dataset

    size, count = options.image_size, max(settings.setup.batch_size, options.classes)
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    images = np.broadcast_to(noise, (count, size, size, 3))  # one, seen many times
    data = Batch(images, np.arange(count, dtype=np.int32) % options.classes)
    names = tuple(map(str, range(options.classes)))
    return Dataset(f"pictures of {size} pixels", data, data, names)


class _Clock:
    """A spinner with the time on a terminal, a line elsewhere."""

    def __init__(self, console: Console, text: str) -> None:
        self.console, self.text = console, text
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        self.bars = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> None:
        self.begun = time.perf_counter()
        self.bars.start()
        self.bars.add_task(self.text, total=None)

    def __exit__(self, *error: object) -> None:
        self.bars.stop()
        seconds = time.perf_counter() - self.begun
        self.console.print(f"{self.text}: {seconds:.1f} s", highlight=False)


def _table(
    facts: Any, flops: int, batch: int, devices: int, chip: Any, estimate: Any
) -> Table:
    where = f"on each of {devices}" if devices > 1 else "on the device"
    table = Table("of a step", where)
    share = facts.memory / chip.memory
    fits = "fits" if share < 1 else "does not fit"
    table.add_row("examples", f"{batch // devices:,}")
    table.add_row("matrix products", _written(flops / devices, "FLOP"))
    table.add_row("through main memory", _written(facts.bytes, "B"))
    table.add_row(
        "memory at once", f"{_written(facts.memory, 'B')}, {share:.0%} of it: {fits}"
    )
    table.add_row("  state and batch", _written(facts.arguments, "B"))
    table.add_row("  temporaries", _written(facts.temporaries, "B"))
    table.add_row("kernels", f"{facts.kernels:,}, {facts.small_kernels:,} under 200 kB")
    for each in facts.collectives:
        table.add_row(each.kind, f"{each.number:,}, {_written(each.bytes, 'B')}")
    if not facts.collectives:
        table.add_row("collectives", "none")
    table.add_row(
        "roofline estimate", f"{1e3 * estimate.seconds:.3g} ms, bound by {estimate.bound}"
    )
    table.add_row("  on all devices", f"{batch / estimate.seconds:,.0f} examples/s")
    return table


def _written(x: int | float, unit: str) -> str:
    """Three digits and a prefix.

    >>> _written(1234567, "B")
    '1.23 MB'
    """
    for prefix in ("", "k", "M", "G"):
        if x < 999.5:
            return f"{x:.3g} {prefix}{unit}"
        x /= 1000
    return f"{x:,.4g} T{unit}"
