"""`optix-tricks export`."""

import dataclasses

from optix_tricks.cli._options import parsed
from optix_tricks.cli._positional import Directory, Run


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What to write, and where."""

    run: Run
    """a run's directory, with a checkpoint"""
    directory: Directory
    """a new one, or an empty one"""
    batch_size: int | None = None
    """the only one that the function takes; any if not given"""
    data_dir: str | None = None
    """where the data are, if not where they were"""
    checkpoint: str = "newest"
    """newest; best, of a run with --keep-best; or the number of an epoch"""
    debug: bool = False
    """show the traceback of an error"""


def export(arguments: list[str]) -> None:
    """Write a run as a function for JAX alone, and its weights as safetensors."""
    options = parsed(ExportOptions, "export", export.__doc__, arguments)
    from optix_tricks.runs import load_run

    run = load_run(options.run, data_dir=options.data_dir, checkpoint=options.checkpoint)
    path = run.export(options.directory, batch_size=options.batch_size)
    for file in sorted(path.iterdir()):
        print(f"{file}  {file.stat().st_size:,} bytes")
