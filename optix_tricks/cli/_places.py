"""The devices that a training takes, as options of the command line."""

import argparse
import dataclasses
from typing import Any, Literal, get_args

from optix_tricks.cli._options import RunOptions, UsageError

Layout = Literal["replicated", "zero1", "fsdp"]  # `training.LAYOUTS`


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a training runs; what it computes does not depend on it."""

    devices: int | None = None
    """over so many each batch is split; all accelerators, or one CPU, if not given"""
    layout: Layout = "replicated"
    """of the state on them: copies, or split: the optimiser's, or parameters too"""
    distributed: bool = False
    """with the processes that Slurm, Open MPI, Kubernetes or a TPU pod started beside"""
    coordinator: str | None = None
    """HOST:PORT of process 0, where no such cluster tells it"""
    processes: int | None = None
    """how many there are, with --coordinator"""
    process: int | None = None
    """this one's number, from 0, with --coordinator"""
    workers: int = 0
    """processes that decode pictures that are streamed; threads if not given"""
    memory: str | None = None
    """for decoded pictures, as 16GB; a quarter of what machine and device have"""


@dataclasses.dataclass(frozen=True)
class TrainOptions(Places, RunOptions):
    """Where the run goes, where it runs, and what is traced of it."""

    profile: int | None = None
    """trace this many steps, after as many that compile, into the run's directory"""
    norm_devices: int | None = None
    """batch norms see the examples of so many devices; of all if not given"""
    resume: str | None = None
    """a run's directory: go on with it; its own --help says how, also for longer"""


KINDS: dict[str, dict[str, Any]] = {  # but of whole numbers
    "layout": {"choices": get_args(Layout)},
    "distributed": {"action": "store_true"},
    "coordinator": {"type": str},
    "memory": {"type": str},
}


def places_of(arguments: list[str]) -> tuple[Places, list[str]]:
    """Read the options of places alone; return what is left.

    Raises:
      UsageError: if a value is not understood.
    """
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    for field in dataclasses.fields(Places):
        options = KINDS.get(field.name, {"type": int})
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, default=field.default, **options)
    try:
        found, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UsageError(f"{error}.") from error
    return Places(**vars(found)), rest


def join(places: Places) -> None:
    """Join the other processes, if there are to be some; before JAX is used.

    Raises:
      UsageError: if only some of the words that name them are there.
    """
    named = (places.coordinator, places.processes, places.process)
    if named != (None, None, None):
        if None in named:
            raise UsageError(
                "--coordinator, --processes and --process stand together, or"
                " --distributed alone."
            )
    elif not places.distributed:
        return
    from optix_tricks.training._hosts import connect

    connect(*named)


def norms_of(settings: Any, options: TrainOptions) -> Any:
    """Have batch norms see the examples of some devices, as ghost batches of that size.

    So what is computed is in the run's settings, and stays on another number of devices.

    Raises:
      UsageError: if there are not as many devices, or no batch norm.
    """
    if options.norm_devices is None:
        return settings
    from optix_tricks.training._run_devices import place_run
    from optix_tricks.tricks import find_trick

    size = settings.setup.batch_size
    try:
        devices = place_run(size, devices=options.devices, layout=options.layout).size
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    if options.norm_devices < 1 or devices % options.norm_devices:
        raise UsageError(
            f"--norm-devices must divide the {devices} devices, got"
            f" {options.norm_devices}."
        )
    names = [each.name for each in settings.setup.filled()["norm"]]
    if names not in ([], ["batch_norm"]):
        raise UsageError(
            f"--norm-devices is for batch norms, and the setup has {names[0]}: leave it"
            " out."
        )
    ghost = find_trick("ghost_batch_norm")(
        ghost_size=size // devices * options.norm_devices
    )
    without = settings.setup.without(*names)
    return dataclasses.replace(settings, setup=without.take(ghost))
