"""How long does CIFAR-10 take to 94 or 96 %? The airbench recipes, a run at a time.

In the timer, as in the source: the whitening of the first 5,000 images, all orders,
augmentation and steps, and the test on six views. Not in it: reading the data and its way
to the device, initial weights, compilation, and one whole run on random labels, which
warms everything up (on a CPU two steps). Runs differ in their seed alone; none is left
out. With `--peer` also a step of the same network in PyTorch, on the same device, taking
turns with ours; with `--peer-runs` whole runs of airbench94 in PyTorch, after ours.

    python -m benchmarks.airbench --recipe cifar10_airbench94 --runs 5 --peer-runs 5
    python -m benchmarks.airbench --width 16 --peer --runs 0    # steps alone
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import cifar10
from benchmarks.timing import compare, interleave, save
from optix_tricks.initializers import patch_whitening
from optix_tricks.recipes import RECIPES
from optix_tricks.training import (
    Batch,
    Dataset,
    Job,
    TrainState,
    create_state,
    epoch_orders,
    jit,
    make_epoch,
    normalize,
    steps_per_epoch,
)
from optix_tricks.tricks import Setup, find_trick

TEST_BATCH = 2000


def make_run(job: Job, dataset: Dataset, mode: str) -> Callable[..., tuple[float, int]]:
    """Return `run(params, batch_stats, data, seed, steps) -> (seconds, correct)`."""
    mean, std = (jnp.asarray(x) for x in dataset.channel_statistics())
    size = dataset.train.size
    tests = Batch(jnp.asarray(dataset.test.inputs), jnp.asarray(dataset.test.targets))
    epoch = make_epoch(job.step, mode=mode)
    (phase,) = job.phases
    settled_epoch = make_epoch(job.step_in(phase.epoch), mode=mode)
    settled = phase.epoch * steps_per_epoch(size, job.batch_size)

    @jit
    def begin(params: Any, stats: Any, images: Any, key: Any) -> tuple[TrainState, Any]:
        kernel = patch_whitening(normalize(mean, std)(images))
        whitening = params["whitening"] | {"kernel": kernel}
        state = create_state(params | {"whitening": whitening}, stats, job.tx, key)
        orders = epoch_orders(key, job.epochs, size, job.batch_size)
        return state, jnp.concatenate(list(orders))

    @jit
    def correct(state: TrainState, images: Any, labels: Any) -> Any:
        logits = job.predicted(state, images)
        return jnp.sum(jnp.argmax(logits, axis=-1) == labels)

    def run(
        params: Any, stats: Any, data: Batch, seed: int, steps: int | None = None
    ) -> tuple[float, int]:
        jax.block_until_ready((params, stats))
        start = time.perf_counter()
        state, order = begin(params, stats, data.inputs[:5000], jax.random.key(seed))
        state, _ = epoch(state, data, order[:settled][:steps])
        if len(order) > settled:
            state, _ = settled_epoch(state, data, order[settled:][:steps])
        hits = [
            correct(
                state, tests.inputs[i : i + TEST_BATCH], tests.targets[i : i + TEST_BATCH]
            )
            for i in range(0, dataset.test.size, TEST_BATCH)
        ]
        hits = jax.block_until_ready(hits)
        return time.perf_counter() - start, int(sum(map(int, hits)))

    return run


def measure_runs(setup: Setup, dataset: Dataset, mode: str, runs: int) -> Any:
    """Train `runs` times after a warm-up; a row of the results."""
    plan = setup.plan(dataset)
    job = plan.job(0)
    run = make_run(job, dataset, mode)
    data = Batch(jnp.asarray(dataset.train.inputs), jnp.asarray(dataset.train.targets))
    random = np.random.default_rng(0).integers(0, 10, len(data.targets)).astype(np.int32)
    start = time.perf_counter()
    random_data = data._replace(targets=jnp.asarray(random))
    steps = 2 if jax.default_backend() == "cpu" else None
    run(job.params, job.batch_stats, random_data, 0, steps)
    warm_up = time.perf_counter() - start
    print(f"warmed up in {warm_up:.1f} s", flush=True)

    def fresh_run(seed: int) -> tuple[float, int]:
        fresh = plan.job(seed)
        return run(fresh.params, fresh.batch_stats, data, seed)

    return {"mode": mode, "warm_up_s": warm_up} | repeated(fresh_run, dataset, runs)


def measure_peer_runs(setup: Setup, dataset: Dataset, runs: int) -> dict[str, Any]:
    """The same of airbench94 in PyTorch; on a CPU without warm-up: nothing compiles."""
    import torch

    from benchmarks.torch_airbench_run import make_run, numbers_of

    run = make_run(numbers_of(setup), dataset)
    start = time.perf_counter()
    if torch.cuda.is_available():
        run(0, np.random.default_rng(0).integers(0, 10, dataset.train.size))
    warm_up = time.perf_counter() - start
    print(f"PyTorch warmed up in {warm_up:.1f} s", flush=True)
    row = repeated(lambda seed: run(seed, dataset.train.targets), dataset, runs)
    return {"mode": f"PyTorch {torch.__version__}", "warm_up_s": warm_up} | row


def repeated(
    run: Callable[[int], tuple[float, int]], dataset: Dataset, runs: int
) -> dict[str, Any]:
    """Run with seeds 1 to `runs`."""
    seconds, accuracies = [], []
    for seed in range(1, runs + 1):
        took, hits = run(seed)
        seconds.append(took)
        accuracies.append(hits / dataset.test.size)
        print(f"run {seed}: {took:.3f} s, {accuracies[-1]:.2%}", flush=True)
    error = statistics.stdev(accuracies) / len(accuracies) ** 0.5 if runs > 1 else None
    return {
        "kind": "run",
        "runs": runs,
        "mean_s": statistics.mean(seconds),
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "accuracy": statistics.mean(accuracies),
        "accuracy_error": error,
        "accuracies": accuracies,
        "seconds": seconds,
    }


def say(recipe: str, row: dict[str, Any]) -> None:
    error = row["accuracy_error"]
    print(
        f"{recipe} {row['mode']}: {row['mean_s']:.3f} s mean, {row['min_s']:.3f} least; "
        f"{row['accuracy']:.2%}"
        + (f" +- {error:.2%}" if error is not None else "")
        + f" over {row['runs']} runs",
        flush=True,
    )


def measure_steps(setup: Setup, dataset: Dataset, rounds: int) -> Any:
    """A step of ours and of PyTorch's, forward, backward and update; images/s."""
    import torch

    from benchmarks import torch_airbench

    job = setup.job(dataset)._replace(alternate=None, augment=None)
    batch = setup.batch_size
    few = Batch(
        jnp.asarray(dataset.train.inputs[:batch]),
        jnp.asarray(dataset.train.targets[:batch]),
    )
    held = [create_state(job.params, job.batch_stats, job.tx, jax.random.key(0))]
    step = jit(job.step, donate_argnums=0)

    def ours() -> Any:
        held[0], metrics = step(held[0], few)
        return metrics

    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    images = torch.randn(batch, 3, 32, 32, device=device)
    labels = torch.from_numpy(np.array(dataset.train.targets[:batch])).long().to(device)
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    (precision,) = setup.filled()["precision"]
    network = torch_airbench.network(width_of(setup), device)
    if device == "cuda":
        network.compile(mode="max-autotune")
    stepped = torch_airbench.stepper(
        network, images, labels, dtype=half.get(precision.name)
    )

    def theirs() -> None:
        stepped()
        if device == "cuda":
            torch.cuda.synchronize()

    seconds = interleave({"ours": ours, "torch": theirs}, rounds=rounds)
    row = compare(seconds["ours"], seconds["torch"])
    print(
        f"step of {batch}: ours {1e3 * batch / row['ours_ms']:,.0f} images/s, PyTorch "
        f"{1e3 * batch / row['theirs_ms']:,.0f}; time ratio {row['ratio']:.2f} "
        f"[{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]",
        flush=True,
    )
    return {"kind": "step", "batch_size": batch, "torch": torch.__version__} | row


def width_of(setup: Setup) -> int:
    (network,) = setup.filled()["network"]
    return dict(network.numbers)["width"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="cifar10_airbench94")
    parser.add_argument("--data", help="see benchmarks/cifar10.py")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--modes", nargs="+", default=["auto"])
    parser.add_argument("--peer", action="store_true", help="PyTorch's step, too")
    parser.add_argument(
        "--peer-runs", type=int, default=0, help="of PyTorch's airbench94"
    )
    parser.add_argument("--rounds", type=int, default=10, help="of steps")
    parser.add_argument("--step-batch", type=int, help="images of a timed step")
    parser.add_argument("--width", type=int)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--name", default="airbench94", help="of the file of results")
    parser.add_argument("--smoke", action="store_true", help="tiny; writes nothing")
    given = parser.parse_args()
    if given.smoke:
        tiny = {"data": "generated", "width": 4, "epochs": 1.0, "batch_size": 256}
        vars(given).update(
            tiny, runs=min(given.runs, 2), rounds=3, peer_runs=min(given.peer_runs, 2)
        )
    recipe = RECIPES[given.recipe]
    default = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    wanted = {name: getattr(given, name) for name in ("width", "epochs", "batch_size")}
    numbers = {name: value for name, value in wanted.items() if value is not None}
    setup = recipe.setup().change(**numbers).take(find_trick(given.dtype or default))
    dataset = cifar10.load(given.data)
    rows = []
    if given.peer:
        small = setup.change(batch_size=given.step_batch or setup.batch_size)
        rows.append(measure_steps(small, dataset, given.rounds))
    if given.runs:
        for mode in given.modes:
            rows.append(measure_runs(setup, dataset, mode, given.runs))
            say(given.recipe, rows[-1])
    if given.peer_runs:
        rows.append(measure_peer_runs(setup, dataset, given.peer_runs))
        say(given.recipe, rows[-1])
    common = {"recipe": given.recipe, "data": dataset.name}
    common |= {"epochs": setup.epochs, "batch_size": setup.batch_size}
    common |= {"width": width_of(setup), "setup": setup.describe()}
    rows = [common | row for row in rows]
    if not given.smoke:
        print(f"wrote {save(given.name, rows)}")


if __name__ == "__main__":
    main()
