"""What does each diagnostic cost, against the training step it runs beside?

Two networks: an MLP with one hidden layer of 64 units on images of 8x8, batch 64, and the
CIFAR-10 recipe's ResNet-9, narrow, batch 128, with its augmentation and its optimiser.
Windows of 16 steps, without and with a diagnostic, take turns within every round. What is
part of the step is run at every step, at every 16th and at none, of which the cost at
every 256th is the sum; what is a call of its own is run once in a window, and calls that
are cheap once in 256 steps too (MLP).

    python -m benchmarks.diagnostics_cost [--rounds 12] [--width 8] [--smoke]
"""

import argparse
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.networks import Network, mlp, resnet9
from benchmarks.timing import compare, interleave, save
from optix_tricks import dynamics
from optix_tricks.training import Batch, create_state

WINDOW = 16
NEVER = 1 << 30
CHEAP = 3.0  # calls of at most as many steps are verified at every 256th


def window(
    step: Callable, state: Any, batch: Batch, steps: int, measure: Callable | None = None
) -> Callable[[], Any]:
    """A call of so many compiled steps, with one measurement at their end."""
    held = [jax.tree.map(jnp.copy, state)]

    def call() -> Any:
        for _ in range(steps):
            held[0], metrics = step(held[0], batch)
        return metrics, measure(held[0].params) if measure else None

    return call


def with_loss_alone(step: Callable) -> Callable:
    """The compiled step without its metrics: the compiler drops what nobody reads."""

    def only_loss(state: Any, batch: Batch) -> Any:
        state, metrics = step(state, batch)
        return state, metrics["loss"]

    return jax.jit(only_loss, donate_argnums=0)


def with_micro_batches(network: Network, *, measured: bool) -> Callable:
    """A step of four micro-batches, with or without the running noise scale."""
    job, size = network.job, len(network.batch.targets) // 4
    noise = dynamics.running_noise_scale(size, 4 * size)

    def square(tree: Any) -> Any:
        return sum(jnp.sum(g**2) for g in jax.tree.leaves(tree))

    def step(state: Any, batch: Batch) -> Any:
        state, running = state

        def objective(params: Any, part: Batch) -> Any:
            logits, _ = job.apply(params, state.batch_stats, part.inputs, train=True)
            return jnp.mean(job.loss(logits, part.targets))

        parts = [
            jax.tree.map(lambda x, i=i: x[i * size : (i + 1) * size], batch)
            for i in range(4)
        ]
        micro = [jax.grad(objective)(state.params, part) for part in parts]
        mean = jax.tree.map(lambda *g: sum(g) / 4, *micro)
        if measured:
            running = noise.update(running, sum(map(square, micro)) / 4, square(mean))
        updates, opt_state = network.tx.update(mean, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state._replace(params=params, opt_state=opt_state)
        return (state, running), noise.estimate(running).noise_scale

    return jax.jit(step, donate_argnums=0)


def rare_enough(cost: float, allowed: float) -> int | None:
    """The least interval at which a cost in steps is at most what is allowed."""
    return max(math.ceil(cost / allowed), 1) if allowed > 0 else None


def in_the_step(network: Network, rounds: int) -> list[dict[str, Any]]:
    """What the compiled step computes itself."""
    job, batch = network.job, network.batch

    def state_of(tx: Any) -> Any:
        return create_state(job.params, job.batch_stats, tx, jax.random.key(0))

    def step_of(tx: Any) -> Callable:
        return job._replace(tx=tx).step

    calls = {
        "bare": window(with_loss_alone(step_of(job.tx)), state_of(job.tx), batch, WINDOW),
        "metrics": window(
            jax.jit(step_of(job.tx), donate_argnums=0), state_of(job.tx), batch, WINDOW
        ),
    }
    for decay in (0.9, None):
        for every in (1, 16, NEVER):
            tx = dynamics.observe_weight_norms(
                job.tx,
                learning_rate=0.1,
                weight_decay=5e-4,
                momentum=0.9,
                decay=decay,
                every=every,
            )
            name = f"norms {decay} {every}"
            calls[name] = window(
                with_loss_alone(step_of(tx)), state_of(tx), batch, WINDOW
            )
    running = dynamics.running_noise_scale(1, 2).init()
    for measured in (False, True):
        calls[f"micro {measured}"] = window(
            with_micro_batches(network, measured=measured),
            (state_of(job.tx), running),
            batch,
            WINDOW,
        )
    seconds = interleave(calls, rounds=rounds)

    def row(name: str, every: dict[int, str], base: str = "bare") -> dict[str, Any]:
        against = {k: compare(seconds[call], seconds[base]) for k, call in every.items()}
        first = against[1]
        common = {
            "network": network.name,
            "diagnostic": name,
            "step_ms": first["theirs_ms"] / WINDOW,
            "call_ms": (first["ours_ms"] - first["theirs_ms"]) / WINDOW,
            "ratio_1": first["ratio"],
            "rounds": rounds,
        }
        if NEVER not in against:  # not sampled: runs at every step
            ends = {"low": first["ratio_low"], "high": first["ratio_high"]}
            return (
                common | ends | {"at_most_1.1_from": 1 if first["ratio"] < 1.1 else None}
            )
        sampled, never = against[16], against[NEVER]["ratio"]
        extra = max(first["ratio"] - never, 0)
        return common | {
            "ratio_16": sampled["ratio"],
            "ratio_256": never + extra / 256,
            "low": sampled["ratio_low"],
            "high": sampled["ratio_high"],
            "at_most_1.1_from": rare_enough(extra, 1.1 - never),
        }

    names = {k: {e: f"norms {k} {e}" for e in (1, 16, NEVER)} for k in (0.9, None)}
    return [
        row("metrics of the training step", {1: "metrics"}),
        row("`observe_weight_norms`, with gradient average", names[0.9]),
        row("`observe_weight_norms`, `decay=None`", names[None]),
        row(
            "`running_noise_scale`, of 4 micro-batches", {1: "micro True"}, "micro False"
        ),
    ]


def calls_of(network: Network) -> dict[str, Callable[[Any], Any]]:
    """Diagnostics that are calls of their own, each a function of the parameters."""
    job, batch, key = network.job, network.batch, jax.random.key(0)
    stats = jax.tree.map(jnp.copy, job.batch_stats)
    micro = len(batch.targets) // 8

    def loss(params: Any, batch: Batch) -> Any:
        logits, _ = job.apply(params, stats, batch.inputs, train=False)
        return jnp.mean(job.loss(logits, batch.targets))

    def mean_loss(logits: Any) -> Any:
        return jnp.mean(job.loss(logits, batch.targets))

    images = batch.inputs.astype(jnp.float32) / 255
    hessian = functools.partial(dynamics.hessian_operator, loss, batches=[batch])
    maybe_jit = jax.jit if network.looped else lambda f: f
    return {
        "`gradient_noise_scale`, per example": jax.jit(
            lambda w: dynamics.gradient_noise_scale(loss, w, batch)
        ),
        "`gradient_noise_scale`, 8 micro-batches": jax.jit(
            lambda w: dynamics.gradient_noise_scale(
                loss, w, batch, micro_batch_size=micro
            )
        ),
        "`gradient_statistics`, per example": jax.jit(
            lambda w: dynamics.gradient_statistics(loss, w, batch)
        ),
        "`layer_profile`": lambda _: dynamics.layer_profile(
            network.model, images, loss=mean_loss, train=False
        ),
        "one product of `hessian_operator`": maybe_jit(lambda w: hessian(w)(w)),
        "`eigenpairs`, 20 products": maybe_jit(
            lambda w: dynamics.eigenpairs(hessian(w), w, num_matvecs=20, key=key)
        ),
        "`curvature_trace`, 10 probes": maybe_jit(
            lambda w: dynamics.curvature_trace(hessian(w), w, num_probes=10, key=key)
        ),
        "`classify_critical_point`, 20 products": maybe_jit(
            lambda w: dynamics.classify_critical_point(
                loss, w, batches=[batch], num_matvecs=20, key=key
            )
        ),
    }


def beside_the_step(network: Network, rounds: int) -> list[dict[str, Any]]:
    """What is called now and then."""
    job, batch = network.job, network.batch
    state = create_state(job.params, job.batch_stats, job.tx, jax.random.key(0))
    step = with_loss_alone(job.step)
    rows = []
    for name, measure in calls_of(network).items():
        alone = functools.partial(measure, job.params)
        calls = {
            "steps": window(step, state, batch, WINDOW),
            "call": alone,
            "both": window(step, state, batch, WINDOW, measure),
        }
        seconds = interleave(calls, rounds=rounds, warmup=2)
        against = compare(seconds["both"], seconds["steps"])
        step_ms = against["theirs_ms"] / WINDOW
        call_ms = compare(seconds["call"], seconds["steps"])["ours_ms"]
        row = {
            "network": network.name,
            "diagnostic": name,
            "step_ms": step_ms,
            "call_ms": call_ms,
            "ratio_1": 1 + call_ms / step_ms,
            "ratio_16": against["ratio"],
            "ratio_256": 1 + call_ms / step_ms / 256,
            "low": against["ratio_low"],
            "high": against["ratio_high"],
            "rounds": rounds,
            "at_most_1.1_from": rare_enough(call_ms / step_ms, 0.1),
        }
        if network.looped and call_ms <= CHEAP * step_ms:
            long = {
                "steps": window(step, state, batch, 256),
                "both": window(step, state, batch, 256, measure),
            }
            seconds = interleave(long, rounds=rounds, warmup=1)
            row["ratio_256"] = compare(seconds["both"], seconds["steps"])["ratio"]
        rows.append(row)
        show([row])
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        ratios = [row.get(f"ratio_{k}", math.nan) for k in (1, 16, 256)]
        print(
            f"{row['network']:30} {row['diagnostic']:48} step {row['step_ms']:8.2f} ms  "
            f"call {row['call_ms']:9.2f} ms  every 1, 16, 256: "
            f"{ratios[0]:.2f} {ratios[1]:.3f} {ratios[2]:.3f}  "
            f"[{row['low']:.3f}, {row['high']:.3f}]  {row['at_most_1.1_from']}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--smoke", action="store_true", help="smallest; writes nothing")
    given = parser.parse_args()
    small = resnet9(2, 8) if given.smoke else resnet9(given.width, 128)
    rounds = 3 if given.smoke else given.rounds
    rows: list[dict[str, Any]] = []
    for network in (mlp(), small):
        rows += in_the_step(network, rounds)
        show(rows[-4:])
        rows += beside_the_step(network, rounds)
    if not given.smoke:
        print(f"wrote {save('diagnostics_cost', rows)}")


if __name__ == "__main__":
    main()
