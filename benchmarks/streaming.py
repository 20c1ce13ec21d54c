"""How many images a second does a stream give, and how long does a training wait for it?

The stream alone, from CIFAR-10's PNGs (if `TFDS_DATA_DIR` holds them), from JPEGs of
ImageNet's size, which are generated and cropped to 224 pixels, and from uint8 arrays in
memory; beside it, the same arrays on the device, gathered and augmented there. Then a
narrow ResNet-9 that trains from a stream, with and without prefetching to the device, and
on one batch that never changes. Streams are opened anew and take turns in every round.
Last a run of `train` on the JPEGs, as its `speed.json` tells it.

    python -m benchmarks.streaming [--rounds 2] [--seconds 1] [--smoke]
"""

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image

from benchmarks.networks import resnet9
from benchmarks.streamed_runs import whole_run
from benchmarks.timing import save
from optix_tricks.augment import random_crop, random_flip
from optix_tricks.training import (
    ArraySource,
    Batch,
    RandomResizedCrop,
    Source,
    Stream,
    compile_step,
    create_state,
    make_train_step,
    stream_epoch,
)
from optix_tricks.training._epoch import run_steps

Ways = dict[str, dict[str, int]]
THREADS: Ways = {"one thread": {"threads": 0}, "2 threads": {"threads": 2}}
WORKERS: Ways = {
    "1 worker": {"workers": 1, "threads": 0},
    "2 workers": {"workers": 2, "threads": 0},
}
ARRAYS = "32 x 32 arrays"  # whose workers would each be sent a copy
WARMUP = 8  # batches, more than a stream holds ready

Sources = dict[str, tuple[Source, dict[str, Any]]]  # with the settings of their stream


class JpegDirectory:
    """Files of a directory as a source; their names begin with their label."""

    def __init__(self, directory: Path):
        self.paths = sorted(directory.glob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.paths[index]
        return {"image": path.read_bytes(), "label": int(path.name.split("_")[0])}


def photograph(
    rng: np.random.Generator, width: int = 500, height: int = 375
) -> np.ndarray:
    """Noise of equal strength in every octave, as in photographs: 107 kB as a JPEG."""
    total = np.zeros((height, width, 3), np.float32)
    for cells in 2 ** np.arange(9):
        small = rng.normal(size=(3, cells + 1, cells + 1)).astype(np.float32)
        for channel, plane in enumerate(small):
            resized = PIL.Image.fromarray(plane).resize((width, height))
            total[..., channel] += np.asarray(resized)
    return np.clip(128 + 45 * total, 0, 255).astype(np.uint8)


def write_jpegs(directory: Path, count: int) -> JpegDirectory:
    rng = np.random.default_rng(0)
    for i in range(count):
        picture = PIL.Image.fromarray(photograph(rng))
        picture.save(directory / f"{i % 10}_{i:05}.jpg", quality=88)
    return JpegDirectory(directory)


def cifar10() -> Source | None:
    directory = os.environ.get("TFDS_DATA_DIR", "")
    if not (Path(directory) / "cifar10").is_dir():
        print("CIFAR-10 is left out: TFDS_DATA_DIR does not hold it", flush=True)
        return None
    import tensorflow_datasets as tfds

    return tfds.data_source("cifar10", split="train", data_dir=directory)


def stream_rate(
    source: Source, settings: dict[str, Any], seconds: float
) -> dict[str, float]:
    """Images a second once buffers are empty, and what the first batch took."""
    with Stream(source, seed=0, **settings) as stream:
        for _ in range(WARMUP):
            next(stream)
        start, done = time.perf_counter(), 0
        while time.perf_counter() < start + seconds:
            next(stream)
            done += 1
        elapsed = time.perf_counter() - start
        images = done * settings["batch_size"]
        return {"images_per_s": images / elapsed, "first_s": stream.waiting.first}


def device_rate(batch_size: int, seconds: float) -> dict[str, float]:
    """Images a second of arrays on the device: gathered, cropped and flipped there."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (50_000, 32, 32, 3), np.uint8))

    @jax.jit
    def augmented(images: Any, key: Any) -> Any:
        keys = jax.random.split(key, 3)
        index = jax.random.randint(keys[0], batch_size, 0, len(images))
        return random_flip(keys[1], random_crop(keys[2], images[index]))

    begin = time.perf_counter()
    jax.block_until_ready(augmented(images, jax.random.key(0)))
    start, done = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        jax.block_until_ready(augmented(images, jax.random.key(done)))
        done += 1
    elapsed = time.perf_counter() - start
    return {"images_per_s": done * batch_size / elapsed, "first_s": start - begin}


def alone(
    sources: Sources, workers: Ways, rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Each source in each way, with nobody else at work."""
    calls: dict[tuple[str, str], Callable[[], dict[str, float]]] = {
        (name, way): functools.partial(stream_rate, source, settings | more, seconds)
        for name, (source, settings) in sources.items()
        for way, more in (THREADS | (workers if name != ARRAYS else {})).items()
    }
    on_device = functools.partial(device_rate, 256, seconds)
    calls[ARRAYS, "on the device, augmented"] = on_device
    found: dict[tuple[str, str], list[dict[str, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(call())
    rows = []
    for (name, way), runs in found.items():
        rates = [run["images_per_s"] for run in runs]
        row = {
            "source": name,
            "way": way,
            "images_per_s": statistics.median(rates),
            "low": min(rates),
            "high": max(rates),
            "first_s": statistics.median(run["first_s"] for run in runs),
            "rounds": rounds,
        }
        rows.append(row)
        print(
            f"{name:24} {way:26} {row['images_per_s']:9.0f} images/s  "
            f"[{row['low']:.0f}, {row['high']:.0f}]  first batch {row['first_s']:.2f} s",
            flush=True,
        )
    return rows


def beside_training(
    sources: Sources, rounds: int, width: int, steps: int
) -> list[dict[str, Any]]:
    """A ResNet-9 that trains from each source, and on one batch that lies ready."""
    job = resnet9(width, 8).job
    step = compile_step(make_train_step(job.apply, job.loss, job.tx))

    def new_state() -> Any:
        copies = jax.tree.map(jnp.copy, (job.params, job.batch_stats))
        return create_state(*copies, job.tx, jax.random.key(0))

    def from_stream(
        source: Source, settings: dict[str, Any], state: Any
    ) -> tuple[float, float]:
        with Stream(source, seed=0, **settings) as stream:
            state, _ = stream_epoch(step, state, stream, steps=3)
            start = time.perf_counter()
            _, metrics = stream_epoch(step, state, stream, steps=steps)
            elapsed = time.perf_counter() - start
        return elapsed / steps, float(metrics["input_wait"].sum()) / elapsed

    def from_one_batch(batch: Batch, state: Any) -> tuple[float, float]:
        state, _ = step(state, batch)
        start = time.perf_counter()
        run_steps(step, state, [batch] * steps, on_step=lambda i: None)
        return (time.perf_counter() - start) / steps, 0.0

    rows = []
    for name, (source, settings) in sources.items():
        with Stream(source, seed=0, **settings) as stream:
            batch = next(stream)
        calls = {
            "one batch": functools.partial(from_one_batch, batch),
            **{
                f"stream, prefetch {n}": functools.partial(
                    from_stream, source, settings | {"prefetch": n}
                )
                for n in (0, 2)
            },
        }
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in calls}
        for way in calls:
            calls[way](new_state())  # compilation
        for _ in range(rounds):
            for way, call in calls.items():
                found[way].append(call(new_state()))
        for way, runs in found.items():
            row = {
                "source": name,
                "way": way,
                "network": f"ResNet-9 of width {width}",
                "batch_size": settings["batch_size"],
                "step_ms": 1e3 * statistics.median(run[0] for run in runs),
                "waiting_share": statistics.median(run[1] for run in runs),
                "rounds": rounds,
            }
            rows.append(row)
            print(
                f"{name:24} {way:26} {row['step_ms']:9.1f} ms a step  "
                f"waiting {row['waiting_share']:6.1%}",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each stream")
    parser.add_argument("--smoke", action="store_true", help="smallest; writes nothing")
    given = parser.parse_args()
    rounds, seconds = (1, 0.1) if given.smoke else (given.rounds, given.seconds)
    rng = np.random.default_rng(0)
    arrays = ArraySource(
        rng.integers(0, 256, (50_000, 32, 32, 3), np.uint8), rng.integers(0, 10, 50_000)
    )
    with tempfile.TemporaryDirectory() as directory:
        jpegs = write_jpegs(Path(directory), 40 if given.smoke else 256)
        pngs = cifar10()
        small = {ARRAYS: arrays} | ({"CIFAR-10, PNG": pngs} if pngs else {})

        def settings(batch_size: int, crop: int) -> Sources:
            whole = {"batch_size": batch_size}
            cropped = {"batch_size": 32, "augment": RandomResizedCrop(crop)}
            from_jpegs = {f"500 x 375 JPEG to {crop}": (jpegs, cropped)}
            return {name: (source, whole) for name, source in small.items()} | from_jpegs

        workers = {} if given.smoke else WORKERS
        rows = alone(settings(256, 224), workers, rounds, seconds)
        if pngs:
            del small[ARRAYS]
        width, steps = (2, 2) if given.smoke else (4, 16)
        rows += beside_training(settings(128, 64), rounds, width, steps)
        rows += whole_run(jpegs, workers, rounds, width)
    if not given.smoke:
        print(f"wrote {save('streaming', rows)}")


if __name__ == "__main__":
    main()
