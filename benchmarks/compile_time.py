"""How long do our optimisers take to compile, and how much is there to compile?

Equations of the jaxpr for each further array, ours and Optax's of the same meaning, which
no other work disturbs; then instructions and seconds of a step on many arrays: tracing
and compilation in processor time of all threads, which other work disturbs less than the
clock. The two take turns, and every other round the other begins.

    python -m benchmarks.compile_time [--arrays 2000] [--rounds 5] [--smoke]
"""

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from benchmarks.compiled import equations
from benchmarks.optimizer_step import CASES, DECAY, RATE, update_and_apply
from benchmarks.timing import save

Make = Callable[[], optax.GradientTransformation]
PAIRS: dict[str, tuple[Make, Make | None]] = {
    "sgd": (lambda: ot.sgd(RATE), lambda: optax.sgd(RATE)),
    "momentum": (CASES["sgd-momentum"].ours, CASES["sgd-momentum"].optax),
    "nesterov": (
        lambda: ot.sgd(RATE, momentum=0.9, nesterov=True),
        lambda: optax.sgd(RATE, momentum=0.9, nesterov=True),
    ),
    "dampened": (lambda: ot.sgd(RATE, momentum=0.9, dampening=0.5), None),
    "ema": (lambda: ot.ema(0.9), lambda: optax.ema(0.9)),
    "rmsprop": (lambda: ot.rmsprop(RATE), lambda: optax.rmsprop(RATE)),
    "rmsprop, centered": (
        lambda: ot.rmsprop(RATE, centered=True, momentum=0.9),
        lambda: optax.rmsprop(RATE, centered=True, momentum=0.9),
    ),
    "adagrad": (lambda: ot.adagrad(RATE), lambda: optax.adagrad(RATE)),
    "adadelta": (lambda: ot.adadelta(RATE), lambda: optax.adadelta(RATE)),
    "adam": (CASES["adam"].ours, CASES["adam"].optax),
    "adamw": (lambda: ot.adamw(RATE), lambda: optax.adamw(RATE)),
    "adamax": (lambda: ot.adamax(RATE), lambda: optax.adamax(RATE)),
    "nadam": (lambda: ot.nadam(RATE), lambda: optax.nadam(RATE)),
    "nadam, PyTorch's": (lambda: ot.nadam(RATE, momentum_decay=0.004), None),
    "amsgrad": (lambda: ot.amsgrad(RATE), lambda: optax.amsgrad(RATE)),
    "adabound": (lambda: ot.adabound(RATE), None),
    "radam": (lambda: ot.radam(RATE), lambda: optax.radam(RATE)),
    "lars": (CASES["lars"].ours, CASES["lars"].optax),
    "lamb": (
        lambda: ot.lamb(RATE, weight_decay=DECAY),
        lambda: optax.lamb(RATE, weight_decay=DECAY),
    ),
    "clip by global norm": (
        lambda: ot.clip_by_global_norm(1.0),
        lambda: optax.clip_by_global_norm(1.0),
    ),
    "clip by block rms": (
        lambda: ot.clip_by_block_rms(1.0),
        lambda: optax.clip_by_block_rms(1.0),
    ),
    "adaptive clip": (
        lambda: ot.adaptive_grad_clip(0.01),
        lambda: optax.adaptive_grad_clip(0.01),
    ),
}
TIMED = ("momentum", "adam", "lars")


def arrays(number: int) -> dict[str, jax.Array]:
    return {str(i): jnp.zeros((64, 64)) for i in range(number)}


def traced(make: Make, number: int) -> Any:
    """Update and apply on so many arrays."""
    tx, params = make(), arrays(number)
    step = jax.jit(update_and_apply(tx), donate_argnums=(0, 1))
    return step.trace(params, tx.init(params), params)


def equations_an_array(make: Make) -> int:
    """How many a further array adds."""
    few, more = (equations(traced(make, number).jaxpr.jaxpr) for number in (4, 5))
    return more - few


def compiled(make: Make, number: int) -> dict[str, float]:
    """Processor seconds of tracing with lowering, and of compilation; instructions."""
    tx, params = make(), arrays(number)
    state = tx.init(params)
    step = jax.jit(update_and_apply(tx), donate_argnums=(0, 1))
    gc.collect()
    begun = time.process_time()
    lowered = step.lower(params, state, params)
    middle = time.process_time()
    program = lowered.compile()
    end = time.process_time()
    return {
        "trace_s": middle - begun,
        "compile_s": end - middle,
        "instructions": program.as_text().count(" = "),
    }


def timed(name: str, number: int, rounds: int) -> dict[str, Any]:
    """Ours and Optax's in turns."""
    found: list[tuple[dict[str, float], dict[str, float]]] = []
    for i in range(rounds):
        pair = [compiled(make, number) for make in PAIRS[name][:: 1 if i % 2 else -1]]
        found.append(tuple(pair[:: 1 if i % 2 else -1]))
    row: dict[str, Any] = {"optimiser": name, "arrays": number, "rounds": rounds}
    for side, of_side in zip(("ours", "optax"), zip(*found, strict=True), strict=True):
        for key in of_side[0]:
            row[f"{side}_{key}"] = statistics.median(x[key] for x in of_side)
    ratios = {
        "trace": [a["trace_s"] / b["trace_s"] for a, b in found],
        "compile": [a["compile_s"] / b["compile_s"] for a, b in found],
        "both": [
            (a["trace_s"] + a["compile_s"]) / (b["trace_s"] + b["compile_s"])
            for a, b in found
        ],
    }
    for key, each in ratios.items():
        row[f"{key}_ratio"] = statistics.median(each)
        row[f"{key}_low"], row[f"{key}_high"] = min(each), max(each)
    return row


def rows(number: int, rounds: int) -> Iterator[dict[str, Any]]:
    for name, (ours, theirs) in PAIRS.items():
        of_optax = None if theirs is None else equations_an_array(theirs)
        yield {
            "optimiser": name,
            "ours_equations": equations_an_array(ours),
            "optax_equations": of_optax,
        }
    for name in TIMED:
        yield timed(name, number, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrays", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="tiny; writes nothing")
    given = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    number, rounds = (5, 2) if given.smoke else (given.arrays, given.rounds)
    found = []
    for row in rows(number, rounds):
        print(row, flush=True)
        found.append(row)
    if not given.smoke:
        print(f"wrote {save('compile_time', found)}")


if __name__ == "__main__":
    main()
