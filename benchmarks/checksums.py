"""What do the checksums of a checkpoint cost, as a share of an epoch?

Sizes and CRC-32 are written once Orbax has written the files, in the background, and
compared before a state is restored. Both are timed on the files of a real checkpoint that
lie in the page cache, in turns; the epoch is that of the run whose checkpoint it is.

    python -m benchmarks.checksums
"""

import itertools
import statistics
import tempfile
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from benchmarks.timing import interleave, save
from optix_tricks.recipes import new_run
from optix_tricks.recipes._run import with_tricks
from optix_tricks.training import (
    Checkpoints,
    RunDirectory,
    TrainState,
    create_state,
    generate,
    train,
)
from optix_tricks.training._checksums import damaged, write_checksums

ROUNDS = 30
EPOCHS = 11  # of which the first compiles


def of_files(directory: Path) -> dict[str, Any]:
    """Bytes, and milliseconds of either: median and quartiles."""
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    timed = interleave(
        {"write": lambda: write_checksums(directory), "read": lambda: damaged(directory)},
        rounds=ROUNDS,
    )
    row: dict[str, Any] = {"bytes": size, "rounds": ROUNDS}
    for name, seconds in timed.items():
        quartiles = [1e3 * x for x in statistics.quantiles(seconds, n=4)]
        low, middle, high = quartiles
        row |= {f"{name}_ms": middle, f"{name}_low": low, f"{name}_high": high}
    return row


def of_run(name: str, place: Path) -> dict[str, Any]:
    """A recipe as it is, for some epochs."""
    run = with_tricks(new_run(name), [], [])
    setup = run.setup.change(epochs=EPOCHS, checkpoint_every=EPOCHS)
    data = run.load()
    with RunDirectory.start(place, recipe=name, config={}) as directory:
        train(setup.job(data), data, directory, console=Console(quiet=True))
        rows = [row for row in directory.read_metrics() if row["kind"] == "test"]
    times = [row["seconds"] for row in rows]
    epochs = [b - a for a, b in itertools.pairwise(times)]
    row = of_files(place / "checkpoints" / str(EPOCHS))
    epoch = statistics.median(epochs)
    told = {"case": name, "epoch_s": epoch, "epochs": len(epochs)}
    share = 1e-3 * row["write_ms"] / epoch
    return (
        told
        | {"epoch_low": min(epochs), "epoch_high": max(epochs)}
        | row
        | {"share": share}
    )


def of_resnet50(place: Path) -> dict[str, Any]:
    """The state alone: an epoch of ImageNet is out of reach here."""
    setup = new_run("imagenet_resnet50").setup.change(epochs=6, batch_size=8, size=32)
    job = setup.job(generate(32))
    state: TrainState = create_state(
        job.params, job.batch_stats, job.tx, jax.random.key(0)
    )
    with Checkpoints(place) as checkpoints:
        checkpoints.save(1, state)
    return {"case": "imagenet_resnet50 before its first step"} | of_files(place / "1")


def main() -> None:
    """Measure and write."""
    rows = []
    for measure, name in ((of_run, "digits"), (of_run, "tabular_mlp")):
        with tempfile.TemporaryDirectory() as place:
            rows.append(measure(name, Path(place) / "run"))
    with tempfile.TemporaryDirectory() as place:
        rows.append(of_resnet50(Path(place)))
    for row in rows:
        print(row)
    print(save("checksums", rows))


if __name__ == "__main__":
    main()
