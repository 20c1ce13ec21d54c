"""Does a run that is stopped halfway and resumed end in the bits of one that was not?

Every recipe, at a tiny size, and the stream: N steps against N/2, a restored checkpoint
and N/2 more, built again from `config.json`. All arrays of the last state and all rows of
metrics are compared, bit by bit.

    python -m benchmarks.resume [CASE ...]
"""

import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import optix_tricks as ot
from benchmarks.timing import RESULTS, save
from optix_tricks._paths import named_leaves
from optix_tricks.losses import cross_entropy
from optix_tricks.recipes import RECIPES, new_run, reconfigure
from optix_tricks.recipes._run import Run, with_tricks
from optix_tricks.training import (
    ArraySource,
    Checkpoints,
    RunDirectory,
    Stream,
    TrainState,
    compile_step,
    create_state,
    generate,
    make_train_step,
    stream_epoch,
    train,
)

IMAGES: dict[str, Any] = {"epochs": 4, "batch_size": 512}
# Of a recipe that is not among them the width alone is another.
SMALL: dict[str, dict[str, Any]] = {
    "digits": {"width": 2, "epochs": 4, "checkpoint_every": 1},
    "tabular_mlp": {"width": 8, "epochs": 4, "checkpoint_every": 1},
    "text_transformer": {"width": 8, "epochs": 2, "batch_size": 256},
    "cifar10_resnet9": {**IMAGES, "width": 2, "crop": 1, "cutout": 2},
    "cifar10_resnet18": {**IMAGES, "width": 2, "crop": 1, "cutout": 2},
    "cifar10_airbench94": {**IMAGES, "width": 4},
    "cifar10_airbench94_muon": {**IMAGES, "width": 4},
    "cifar10_airbench96": {**IMAGES, "width": 4, "cutout": 4},
    "cifar10_airbench96_filtered": {**IMAGES, "width": 4, "cutout": 4},
    "cifar100_resnet18": {**IMAGES, "width": 2, "crop": 1},
    "imagenet_resnet50": {**IMAGES, "width": 2, "size": 8, "warm_up": {"epochs": 1.0}},
    "imagenet_resnet50_lars": {
        **IMAGES,
        "width": 2,
        "size": 8,
        "warm_up": {"epochs": 1.0},
    },
}
# What others exempt from such tables: two evaluations a step, dropped branches, averages.
BESIDE = {
    "digits, sam and swa": ("digits", ["sam", "swa"]),
    "cifar10_resnet18, drop_path": ("cifar10_resnet18", ["drop_path=0.2"]),
}
STREAM = "the stream"
CASES = (*RECIPES, *BESIDE, STREAM)


def tiny(case: str) -> Run:
    """A recipe's run, small."""
    name, added = BESIDE.get(case, (case, []))
    run = with_tricks(new_run(name), added, [])
    if name.startswith(("cifar", "imagenet")):
        size = 16 if "airbench" in name else 8
        run = dataclasses.replace(run, dataset=f"generated/{size}")
    elif name == "text_transformer":
        run = dataclasses.replace(run, dataset="topics/16")
    numbers = SMALL.get(name, {**IMAGES, "width": 4})
    return dataclasses.replace(run, setup=run.setup.change(**numbers))


def compared(case: str, place: Path) -> dict[str, Any]:
    """The row of a case; `place` gets its runs."""
    if case == STREAM:
        return _of_stream(place)
    run = tiny(case)
    data = run.load()
    quiet = Console(quiet=True)
    path = place / "whole"
    with RunDirectory.start(path, recipe=run.recipe.name, config=run.as_json()) as whole:
        wanted, result = train(run.job(data), data, whole, console=quiet)
        rows = whole.read_metrics()
    half = int(run.setup.epochs) // 2
    shutil.copytree(path, place / "half")
    for epoch in (place / "half" / "checkpoints").iterdir():
        if int(epoch.name) > half:
            shutil.rmtree(epoch)
    if not (place / "half" / "checkpoints" / str(half)).exists():
        with RunDirectory.reopen(place / "half")[0] as again:
            again.cut_metrics(0)
            stopped = run.job(data)._replace(epochs=half)
            train(stopped, data, again, console=quiet)
    directory, name, fields = RunDirectory.reopen(place / "half")
    with directory:
        job = reconfigure(place / "half", name, fields).job(data)
        state, again_result = train(job, data, directory, resume=True, console=quiet)
        again_rows = directory.read_metrics()
    same_rows = [_timeless(row) for row in rows] == [_timeless(x) for x in again_rows]
    same_result = _timeless(result._asdict()) == _timeless(again_result._asdict())
    steps = int(jax.device_get(wanted.step))
    told = {"case": case, "steps": steps, "from": steps // 2}
    return told | _differences(wanted, state) | {"same_rows": same_rows and same_result}


def _of_stream(place: Path) -> dict[str, Any]:
    """Batches drawn, cropped and decoded by two workers, and read on from the middle."""
    data = generate(8)

    def linear(
        params: Any, stats: Any, images: Any, *, train: bool, key: Any = None
    ) -> Any:
        flat = jnp.reshape(images, (len(images), -1)).astype(jnp.float32) / 255
        return flat @ params["w"], stats

    tx = ot.adam(0.01)
    step = compile_step(make_train_step(linear, cross_entropy, tx))
    source = ArraySource(data.train.inputs, data.train.targets)
    options = {"batch_size": 64, "seed": 0, "workers": 2, "augment": _flipped}

    def start() -> TrainState:
        params = {"w": jnp.zeros((192, data.num_classes))}
        return create_state(params, {}, tx, jax.random.key(0))

    with Stream(source, **options) as stream:
        wanted, metrics = stream_epoch(step, start(), stream, steps=20)
    with Stream(source, **options) as stream:
        state, first = stream_epoch(step, start(), stream, steps=10)
    with Checkpoints(place / "checkpoints") as checkpoints:
        checkpoints.save(10, state)
        state = checkpoints.restore(10, start())
    with Stream(source, **options, start=int(state.step)) as stream:
        state, rest = stream_epoch(step, state, stream, steps=10)
    losses = np.concatenate([first["loss"], rest["loss"]])
    told = {"case": STREAM, "steps": 20, "from": 10} | _differences(wanted, state)
    return told | {"same_rows": bool((losses == np.asarray(metrics["loss"])).all())}


def _flipped(generator: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return image[:, ::-1] if generator.random() < 0.5 else image


def _differences(wanted: TrainState, found: TrainState) -> dict[str, Any]:
    """How many arrays there are, how many differ, and by how much."""
    pairs = [
        (name, np.asarray(a), np.asarray(b))
        for (name, a, _), (_, b, _) in zip(
            *(named_leaves(x._replace(key=jax.random.key_data(x.key))) for x in
              (wanted, found)),
            strict=True,
        )
    ]  # fmt: skip
    other = [(n, a, b) for n, a, b in pairs if a.tobytes() != b.tobytes()]
    gaps = [float(np.max(np.abs(a.astype(float) - b.astype(float)))) for _, a, b in other]
    return {
        "arrays": len(pairs),
        "different": [name for name, _, _ in other],
        "largest": max(gaps, default=0.0),
    }


def _timeless(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in row.items() if name != "seconds"}


def main(cases: list[str]) -> None:
    """Run the cases and write what was found, beside what was found of others."""
    file = RESULTS / f"resume_{jax.default_backend()}.json"
    rows = json.loads(file.read_text())["rows"] if cases and file.exists() else []
    found = {row["case"]: row for row in rows}
    for case in cases or CASES:
        with tempfile.TemporaryDirectory() as place:
            found[case] = compared(case, Path(place))
        print(found[case], flush=True)
    print(save("resume", [found[case] for case in CASES if case in found]))


if __name__ == "__main__":
    main(sys.argv[1:])
