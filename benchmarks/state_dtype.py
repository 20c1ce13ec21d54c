"""Does AdamW train as well with its moments in 16 or 8 bits as in float32?

The CIFAR-10 recipe (ResNet-9, augmentation, warm-up, linear fall) with AdamW in place of
momentum SGD: the same seeds for each dtype of the state, taking turns. Prints the test
accuracy, its differences from float32 seed by seed with their standard error, and the
bytes of state a parameter.

    python -m benchmarks.state_dtype [--width 8] [--epochs 4] [--seeds 4]
"""

import argparse
import dataclasses
import math
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from benchmarks.timing import save
from optix_tricks.recipes import cifar10_resnet9
from optix_tricks.schedules import linear_schedule, warmup_schedule
from optix_tricks.training import (
    Batch,
    Dataset,
    create_state,
    epoch_order,
    load_dataset,
    make_epoch,
    steps_per_epoch,
)

DTYPES = ("float32", "bfloat16", "int8")


def adamw(config: cifar10_resnet9.Config, steps: int, dtype: str) -> Any:
    """The recipe's schedule with AdamW."""
    warmup = round(config.warmup_fraction * steps)
    fall = linear_schedule(config.learning_rate, 0.0, max(steps - warmup, 1))
    return ot.adamw(
        warmup_schedule(fall, warmup_steps=warmup),
        weight_decay=config.weight_decay,
        mask=ot.no_bias_or_norm,
        state_dtype=dtype,
    )


def run(config: cifar10_resnet9.Config, dataset: Dataset, dtype: str) -> dict[str, Any]:
    """Train once."""
    job = cifar10_resnet9.build(config, dataset)
    size = dataset.train.size
    tx = adamw(config, config.epochs * steps_per_epoch(size, config.batch_size), dtype)
    state = create_state(job.params, job.batch_stats, tx, jax.random.key(config.seed))
    epoch = make_epoch(job._replace(tx=tx).step)
    data = Batch(jnp.asarray(dataset.train.inputs), jnp.asarray(dataset.train.targets))
    start = time.perf_counter()
    for number in range(config.epochs):
        order = epoch_order(state.key, number, size, config.batch_size)
        state, _ = epoch(state, data, order)
    jax.block_until_ready(state)
    seconds = time.perf_counter() - start
    test = Batch(jnp.asarray(dataset.test.inputs), jnp.asarray(dataset.test.targets))
    result = job.make_evaluate(views=False)(state, test)
    kept = [optax.tree.get(state.opt_state, name) for name in ("mu", "nu")]
    parameters = sum(x.size for x in jax.tree.leaves(state.params))
    return {
        "dtype": dtype,
        "seed": config.seed,
        "accuracy": result.metrics["accuracy"],
        "bytes_per_parameter": sum(x.nbytes for x in jax.tree.leaves(kept)) / parameters,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--dtypes", nargs="+", default=DTYPES)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    given = parser.parse_args()
    dataset = load_dataset("cifar10")
    config = cifar10_resnet9.Config(
        width=given.width,
        epochs=given.epochs,
        batch_size=256,
        learning_rate=given.learning_rate,
        weight_decay=given.weight_decay,
        cutout=0,
    )
    rows: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        for dtype in given.dtypes:
            row = run(dataclasses.replace(config, seed=seed), dataset, dtype)
            rows.append(row | dataclasses.asdict(config) | {"seed": seed})
            print(
                {k: row[k] for k in ("dtype", "seed", "accuracy", "seconds")}, flush=True
            )
            save("state_dtype", rows)
    accuracy = {d: [r["accuracy"] for r in rows if r["dtype"] == d] for d in given.dtypes}
    print(f"{'dtype':10}{'accuracy':>10}{'less float32':>22}{'bytes/parameter':>18}")
    for dtype, values in accuracy.items():
        gaps = [a - b for a, b in zip(values, accuracy["float32"], strict=True)]
        error = statistics.stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else 0.0
        size = next(r["bytes_per_parameter"] for r in rows if r["dtype"] == dtype)
        print(
            f"{dtype:10}{statistics.mean(values):10.2%}"
            f"{statistics.mean(gaps):+14.2%} +- {error:.2%}{size:18.2f}"
        )


if __name__ == "__main__":
    main()
