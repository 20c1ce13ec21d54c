"""How long does a run of `train` wait for pictures that it streams?"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.networks import resnet9
from optix_tricks.training import (
    Batch,
    Dataset,
    Pictures,
    RandomResizedCrop,
    RunDirectory,
    train,
)


def whole_run(
    jpegs: Any, workers: dict[str, dict[str, int]], rounds: int, width: int
) -> list[dict[str, Any]]:
    """A ResNet-9 of three epochs by `train`, on pictures of a source that is streamed."""
    labels = np.array([int(path.name.split("_")[0]) for path in jpegs.paths], np.int32)
    images = Batch(Pictures(jpegs, size=64), labels)
    names = tuple(map(str, range(10)))
    data = Dataset(
        "JPEGs", images, Batch(images.inputs[:8], labels[:8]), names, streamed=True
    )
    job = resnet9(width, 8).job._replace(
        **{"augment": None, "epochs": 3, "batch_size": 32, "crop": RandomResizedCrop(64)}
    )
    rows = []
    for way, settings in ({"threads": {"workers": 0}} | workers).items():
        told = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "run"
                with RunDirectory.start(path, recipe="streaming", config={}) as run:
                    options: Any = {"workers": settings["workers"]}
                    train(job, data, run, console=Console(quiet=True), **options)
                told.append(json.loads((path / "speed.json").read_text()))
        rates = [each["examples_per_second"] for each in told]
        row = {
            "source": "500 x 375 JPEG to 64",
            "way": f"train, {way}",
            "network": f"ResNet-9 of width {width}",
            "batch_size": job.batch_size,
            "step_ms": 1e3 * job.batch_size / statistics.median(rates),
            "waiting_share": statistics.median(x["waiting_share"] for x in told),
            "rounds": rounds,
        }
        rows.append(row)
        print(
            f"{row['source']:24} {row['way']:26} {row['step_ms']:9.1f} ms a step  "
            f"waiting {row['waiting_share']:6.1%}",
            flush=True,
        )
    return rows
