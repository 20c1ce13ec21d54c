"""Does the gradient noise scale predict what another batch size costs in steps?

An MLP with 64 hidden units on the digits, plain SGD at a constant rate, until the loss of
all training data is below a target: at each batch size all rates of a grid train side by
side, over several seeds, and the one with the fewest steps counts. Beside it the
prediction from the noise scale, measured along a run at batch 64, and the hyperbola
S_min + E_min/B through the steps.

    python -m benchmarks.batch_size [--seeds 8] [--targets 0.3 0.1 0.03]
"""

import argparse
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks.timing import save
from optix_tricks.dynamics import (
    batch_trade,
    gradient_noise_scale,
    noise_scale_from_norms,
)
from optix_tricks.training import load_dataset

SIZES = (4, 8, 16, 32, 64, 128, 256, 512)
RATES = 0.02 * 2 ** (np.arange(17) / 2)  # 0.02 ... 5.1
CURRENT = 64  # the run whose noise scale is measured
MICRO = 16  # its micro-batches


def init(key: Any) -> Any:
    keys = jax.random.split(key)
    normal = jax.nn.initializers.he_normal()
    return {
        "hidden": {"kernel": normal(keys[0], (64, 64)), "bias": jnp.zeros(64)},
        "out": {"kernel": normal(keys[1], (64, 10)), "bias": jnp.zeros(10)},
    }


def loss(params: Any, batch: Any) -> Any:
    x, labels = batch
    for name in ("hidden", "out"):
        x = x @ params[name]["kernel"] + params[name]["bias"]
        x = jax.nn.relu(x) if name == "hidden" else x
    return jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(x, labels))


@functools.partial(jax.jit, static_argnames=("size", "steps"))
def advance(params: Any, key: Any, rate: Any, data: Any, *, size: int, steps: int) -> Any:
    """Some steps of SGD on examples drawn with replacement, and the loss after them."""

    def step(params: Any, key: Any) -> Any:
        index = jax.random.randint(key, (size,), 0, len(data[1]))
        grads = jax.grad(loss)(params, jax.tree.map(lambda x: x[index], data))
        return jax.tree.map(lambda w, g: w - rate * g, params, grads), None

    params, _ = lax.scan(step, params, jax.random.split(key, steps))
    return params, loss(params, data)


def steps_to_target(size: int, rates: Any, seeds: int, target: float, data: Any) -> Any:
    """Steps [rates, seeds] until the loss of all data is below the target."""
    over_seeds = jax.vmap(
        functools.partial(advance, size=size, steps=max(1, 64 // size)),
        (0, 0, None, None),
    )
    run = jax.jit(jax.vmap(over_seeds, (0, None, 0, None)))
    params = jax.vmap(init)(jax.random.split(jax.random.key(1), seeds))
    params = jax.tree.map(lambda w: jnp.broadcast_to(w, (len(rates), *w.shape)), params)
    reached = np.full((len(rates), seeds), np.inf)
    every = max(1, 64 // size)
    done = 0
    # A rate that needs twice the steps of the best one cannot be the best one.
    while done < 2 * np.min(np.mean(reached, axis=1), initial=np.inf) and done < 60_000:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(2), done), seeds)
        params, losses = run(params, keys, jnp.asarray(rates), data)
        done += every
        below = (np.asarray(losses) < target) & np.isinf(reached)
        reached[below] = done
        if np.all(np.isfinite(reached)):
            break
    return reached


def noise_along(rate: float, steps: int, seed: int, data: Any) -> list[dict[str, Any]]:
    """Noise scales of one run at the current batch size, at 33 of its steps."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(3), seed), 34)
    params = init(keys[-1])
    every = max(1, steps // 32)
    measure = jax.jit(lambda p: gradient_noise_scale(loss, p, data))

    @jax.jit
    def norms(params: Any, key: Any) -> Any:
        index = jax.random.randint(key, (CURRENT // MICRO, MICRO), 0, len(data[1]))
        micros = jax.tree.map(lambda x: x[index], data)
        grads = jax.vmap(jax.grad(loss), (None, 0))(params, micros)
        squares = sum(jnp.sum(g**2) for g in jax.tree.leaves(grads)) * MICRO / CURRENT
        means = (jnp.mean(g, axis=0) for g in jax.tree.leaves(grads))
        return squares, sum(jnp.sum(g**2) for g in means)

    rows = []
    for i in range(33):
        whole = measure(params)
        pairs = jax.vmap(norms, (None, 0))(params, jax.random.split(keys[i], every))
        two = noise_scale_from_norms(*pairs, b_small=MICRO, b_big=CURRENT)
        row = {f"per_example_{k}": float(v) for k, v in whole._asdict().items()}
        row |= {f"two_batch_{k}": float(v) for k, v in two._asdict().items()}
        rows.append(row | {"seed": seed, "step": i * every})
        params, _ = advance(params, keys[i], rate, data, size=CURRENT, steps=every)
    return rows


def mean_over_run(noise_scales: np.ndarray) -> float:
    """Mean weighted by the progress of each step, 1 / (1 + B_noise/B).

    A step at batch B is worth that much of one with the whole gradient, of which B_noise
    more examples are needed: E_min is their sum.
    """
    progress = 1 / (1 + noise_scales / CURRENT)
    return float(np.sum(progress * noise_scales) / np.sum(progress))


def hyperbola(steps: np.ndarray) -> tuple[float, float]:
    """S_min and E_min of S_min + E_min/B, by least relative squares."""
    columns = np.stack([np.ones(len(SIZES)), 1 / np.array(SIZES)], axis=1)
    (low, slope), *_ = np.linalg.lstsq(
        columns / steps[:, None], np.ones(len(SIZES)), rcond=None
    )
    return low, slope


def trained(target: float, seeds: int, data: Any) -> list[dict[str, Any]]:
    """A row per batch size: the best rate and its steps."""
    rows = []
    for size in SIZES:
        start = time.perf_counter()
        reached = steps_to_target(size, RATES, seeds, target, data)
        means = reached.mean(axis=1)
        best = int(np.argmin(means))
        row = {
            "target": target,
            "batch_size": size,
            "rate": RATES[best],
            "steps": means[best],
            "steps_error": reached[best].std(ddof=1) / np.sqrt(seeds),
            "seeds": seeds,
        }
        rows.append(row)
        print(
            f"batch {size:4}  rate {row['rate']:.3f} ({best + 1} of {len(RATES)})  "
            f"steps {row['steps']:8.1f} +- {row['steps_error']:.1f}  "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return rows


def predict(rows: list[dict[str, Any]], seeds: int, data: Any) -> None:
    """Add the predictions to the rows of a target."""
    current = rows[SIZES.index(CURRENT)]
    steps = np.array([row["steps"] for row in rows])
    runs = range(seeds)
    along = [noise_along(current["rate"], int(current["steps"]), i, data) for i in runs]
    low, slope = hyperbola(steps)
    print(f"hyperbola: S_min {low:.1f}, E_min {slope:.0f}, critical {slope / low:.1f}")
    for name in ("per_example", "two_batch"):
        noise, signal = (
            np.mean([[row[f"{name}_{k}"] for row in run] for run in along], axis=0)
            for k in ("noise", "signal")
        )
        scales = noise / signal
        mean = mean_over_run(scales)
        print(
            f"{name}: start, middle, end {scales[[0, 16, 32]].round(1)}, mean {mean:.1f}"
        )
        trade = batch_trade(
            mean,
            np.array(SIZES),
            current_batch_size=CURRENT,
            current_steps=current["steps"],
        )
        print("  predicted / measured", (np.asarray(trade.steps[0]) / steps).round(2))
        for row, predicted in zip(rows, trade.steps[0].tolist(), strict=True):
            row[f"{name}_noise_scale"] = mean
            row[f"{name}_steps"] = predicted
    for row in rows:
        row["fitted_noise_scale"] = slope / low
        row["fitted_steps"] = low + slope / row["batch_size"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--targets", type=float, nargs="+", default=(0.3, 0.1, 0.03))
    given = parser.parse_args()
    digits = load_dataset("digits")
    images = digits.train.inputs.reshape(digits.train.size, -1) / 255
    data = jnp.asarray(images, jnp.float32), jnp.asarray(digits.train.targets)
    rows: list[dict[str, Any]] = []
    for target in given.targets:
        print(f"training loss {target}")
        of_target = trained(target, given.seeds, data)
        predict(of_target, given.seeds, data)
        rows += of_target
    print(f"wrote {save('batch_size', rows)}")


if __name__ == "__main__":
    main()
