"""Does AdamW train as well with its moments in 16 or 8 bits as in float32?

The CIFAR-10 recipe (ResNet-9, augmentation, warm-up, linear fall) with AdamW in place of
momentum SGD: the same seeds for each dtype of the state, taking turns. Prints the test
accuracy, its differences from float32 seed by seed with their standard error, and the
bytes of state a parameter.

    python -m benchmarks.state_dtype [--width 8] [--epochs 4] [--seeds 4]
"""

import argparse
import functools
import math
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from benchmarks.timing import save
from optix_tricks import tricks
from optix_tricks.recipes import cifar10_resnet9
from optix_tricks.training import (
    Batch,
    Dataset,
    create_state,
    epoch_order,
    load_dataset,
    make_epoch,
)
from optix_tricks.tricks import Setup, optimizer

DTYPES = ("float32", "bfloat16", "int8")


def run(setup: Setup, dataset: Dataset, dtype: str, seed: int) -> dict[str, Any]:
    """Train once, with moments of a dtype."""
    (own,) = setup.filled()["optimizer"]
    adamw = optimizer(
        functools.partial(ot.adamw, state_dtype=dtype),
        "adamw",
        make=lambda context, call: functools.partial(call, mask=context.decay_mask),
        **{n: x for n, x in own.numbers if n in ("learning_rate", "weight_decay")},
    )
    job = setup.take(adamw).job(dataset, seed=seed)
    size = dataset.train.size
    state = create_state(job.params, job.batch_stats, job.tx, jax.random.key(seed))
    epoch = make_epoch(job.step)
    data = Batch(jnp.asarray(dataset.train.inputs), jnp.asarray(dataset.train.targets))
    start = time.perf_counter()
    for number in range(int(setup.epochs)):
        order = epoch_order(state.key, number, size, setup.batch_size)
        state, _ = epoch(state, data, order)
    jax.block_until_ready(state)
    seconds = time.perf_counter() - start
    test = Batch(jnp.asarray(dataset.test.inputs), jnp.asarray(dataset.test.targets))
    result = job.make_evaluate(views=False)(state, test)
    kept = [optax.tree.get(state.opt_state, name) for name in ("mu", "nu")]
    parameters = sum(x.size for x in jax.tree.leaves(state.params))
    return {
        "dtype": dtype,
        "seed": seed,
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
    numbers = {
        "width": given.width,
        "epochs": given.epochs,
        "batch_size": 256,
        "learning_rate": given.learning_rate,
        "weight_decay": given.weight_decay,
    }
    recipe = cifar10_resnet9.setup().without("cutout", "l2")
    setup = recipe.take(tricks.adamw).change(**numbers)
    rows: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        for dtype in given.dtypes:
            row = run(setup, dataset, dtype, seed)
            rows.append(row | numbers)
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
