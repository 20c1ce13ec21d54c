"""How long does an epoch of many trainings take, one after the other or stacked?

Learning rates × seeds through `sweep`, on scikit-learn's digits (8x8, 22 batches of 64):
16 MLPs with one hidden layer of 32 units, 16 with two of 256, and 4 narrow ResNet-9 with
the digits recipe's augmentation. The ways take turns within every round; an epoch's time
is the median of those after the first, which holds the compilation. The base is one
compiled step, called member by member with the rate as its argument.

    python -m benchmarks.sweep [--rounds 3] [--smoke]
"""

import argparse
import functools
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import optix_tricks as ot
from benchmarks.timing import compare, save
from optix_tricks.losses import cross_entropy
from optix_tricks.recipes import digits
from optix_tricks.training import (
    Batch,
    Dataset,
    Job,
    create_state,
    functional,
    generate,
    load_digits,
    normalize,
    sweep,
)
from optix_tricks.training._sweep import Seen

BASE = "loop"
KINDS: dict[str, dict[str, Any]] = {
    BASE: {"mode": "loop", "scan": False},
    "loop, scan": {"mode": "loop", "scan": True},
    "map": {"mode": "map", "scan": False},
    "vmap": {"mode": "vmap", "scan": False},
    "vmap, scan": {"mode": "vmap", "scan": True},
    "auto": {"mode": "auto"},
}


@functools.cache
def digits_data() -> Dataset:
    """Of scikit-learn, or generated in their shape where that is not installed."""
    try:
        return load_digits()
    except ImportError:
        images = generate(8)
        grey = (
            part._replace(inputs=part.inputs.mean(-1, keepdims=True).astype(np.uint8))
            for part in (images.train, images.test)
        )
        return Dataset("generated/8", *grey, images.class_names)


class Case(NamedTuple):
    """What is trained, how often, and by which ways."""

    name: str
    build: Callable[[Any, int], Job]
    rates: int
    seeds: int
    epochs: int
    kinds: tuple[str, ...]


class MLP(nnx.Module):
    """Hidden layers of the same width."""

    def __init__(self, widths: tuple[int, ...], rngs: nnx.Rngs) -> None:
        sizes = zip((64, *widths), (*widths, 10), strict=True)
        self.layers = nnx.List([nnx.Linear(m, n, rngs=rngs) for m, n in sizes])

    def __call__(self, images: Any, *, train: bool) -> Any:
        del train
        x = images.reshape(len(images), 64)
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


def mlp(*widths: int) -> Callable[[Any, int], Job]:
    mean, std = map(jnp.asarray, digits_data().channel_statistics())

    def build(rate: Any, seed: int) -> Job:
        model = MLP(widths, nnx.Rngs(seed))
        apply, params, stats = functional(model, preprocess=normalize(mean, std))
        tx = ot.sgd(rate, momentum=0.9)
        return Job(
            *(apply, params, stats, cross_entropy, tx, None),
            epochs=1,
            batch_size=64,
            seed=seed,
            test_loss=cross_entropy,
        )

    return build


def resnet9(rate: Any, seed: int) -> Job:
    setup = digits.setup().change(width=8, learning_rate=rate)
    return setup.job(digits_data(), seed=seed)


def cases(smoke: bool) -> list[Case]:
    every = tuple(KINDS)
    compiled = jax.default_backend() != "cpu"  # convolutions inside a loop: 14 times
    few = every if compiled else tuple(k for k in every if "scan" not in k)
    tiny, wide = (2, 4) if smoke else (20, 10)
    return [
        Case("MLP 64-32-10", mlp(32), 4, 4, tiny, every),
        Case("MLP 64-256-256-10", mlp(256, 256), 4, 4, wide, every),
        Case("ResNet-9 of width 8", resnet9, 2, 2, 2 if smoke else 4, few),
    ]


def trained(case: Case, kind: str) -> tuple[float, float, Seen]:
    """Seconds until the first epoch's end, of a later epoch, and how it was run."""
    some = case.build(0.1, 0)
    at = [time.perf_counter()]

    def init(rate: Any, seed: int) -> Any:
        job = case.build(rate, seed)
        return create_state(job.params, job.batch_stats, job.tx, jax.random.key(job.seed))

    def stop(history: Any) -> np.ndarray:
        at.append(time.perf_counter())
        return np.zeros(history["loss"].shape[:2], bool)

    numbers = np.arange(len(digits_data().train.targets))
    train_data = digits_data().train.inputs, digits_data().train.targets, numbers
    result = sweep(
        init,
        lambda rate, state, batch: case.build(rate, 0).step(state, batch),
        settings=jnp.geomspace(0.01, 0.1, case.rates),
        seeds=range(case.seeds),
        data=Batch(*map(jnp.asarray, train_data)),
        epochs=case.epochs,
        batch_size=some.batch_size,
        stop=stop,
        chunk_size=math.isqrt(case.rates * case.seeds),
        **KINDS[kind],
    )
    return at[1] - at[0], statistics.median(np.diff(at[1:])), result.seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="shortest; writes nothing")
    given = parser.parse_args()
    rounds = 2 if given.smoke else given.rounds
    rows = []
    with tempfile.TemporaryDirectory() as folder:  # compiled in the first round alone
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        for case in cases(given.smoke):
            runs = [
                {kind: trained(case, kind) for kind in case.kinds} for _ in range(rounds)
            ]
            members = case.rates * case.seeds
            for kind in case.kinds:
                first, epoch, seen = zip(*(run[kind] for run in runs), strict=True)
                against = compare(list(epoch), [run[BASE][1] for run in runs])
                ways = sorted({str(tuple(way)) for s in seen for way in s.ways})
                row = {"network": case.name, "members": members, "way": kind} | against
                row |= {"first_epoch_s": statistics.median(first), "ran": ways}
                rows.append(row)
                faster = [1 / row[name] for name in ("ratio", "ratio_high", "ratio_low")]
                print(
                    f"{case.name:20} x{members:<3} {kind:11} {row['ours_ms']:9.2f} ms an "
                    "epoch, {:5.2f} times as fast [{:.2f}, {:.2f}], ".format(*faster)
                    + f"first after {row['first_epoch_s']:5.2f} s; "
                    f"stacked, scan: {' or '.join(ways)}",
                    flush=True,
                )
    if not given.smoke:
        print(f"wrote {save('sweep', rows)}")


if __name__ == "__main__":
    main()
