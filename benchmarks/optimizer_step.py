"""How long is one optimiser step, against Optax's, on a real network's parameters?

Update and apply in one compiled program, parameters and state donated, on ResNet-50's 161
arrays (25.6 M), on 161 tiny ones, and on 500 of 4,096 elements. The packed form keeps its
buffers from step to step; its gradients come packed.

    python -m benchmarks.optimizer_step [--rounds 30]
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import optix_tricks as ot
from benchmarks.timing import compare, interleave, save
from optix_tricks.training.resnet import ResNet50

PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "sgd-momentum": (
        lambda: ot.sgd(0.1, momentum=0.9),
        lambda: optax.sgd(0.1, momentum=0.9),
    ),
    "adam": (lambda: ot.adam(1e-3), lambda: optax.adam(1e-3)),
    "clip+adamw": (
        lambda: optax.chain(ot.clip_by_global_norm(1.0), ot.adamw(1e-3)),
        lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
    ),
    "lars": (
        lambda: ot.lars(0.1, weight_decay=1e-4, mask=None),
        lambda: optax.lars(0.1, weight_decay=1e-4),
    ),
}


def trees() -> dict[str, Any]:
    """The three sets of arrays."""
    model = nnx.eval_shape(lambda: ResNet50(1000, rngs=nnx.Rngs(0)))
    shapes = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    key = jax.random.key(0)
    return {
        "resnet50": jax.tree.map(lambda x: jax.random.normal(key, x.shape), shapes),
        "161 tiny": {str(i): jax.random.normal(key, (8 + i % 7, 16)) for i in range(161)},
        "500 x 4096": {str(i): jax.random.normal(key, (64, 64)) for i in range(500)},
    }


def stepper(tx: Any, params: Any, grads: Any) -> Callable[[], Any]:
    """A call that makes one step and keeps what it donates."""

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1))
    held = [jax.tree.map(jnp.copy, params), tx.init(params)]

    def call() -> Any:
        held[:] = compiled(held[0], held[1], grads)
        return held[0]

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    rows = []
    print(
        f"{'arrays':12} {'optimiser':14} {'form':7} {'ours ms':>8} {'optax ms':>9}  ratio"
    )
    for tree, params in trees().items():
        grads = jax.tree.map(lambda x: 1e-3 * x, params)
        packed = ot.pack(params)
        for name, (ours, theirs) in PAIRS.items():
            calls = {
                "optax": stepper(theirs(), params, grads),
                "tree": stepper(ours(), params, grads),
                "packed": stepper(ours(), packed, ot.pack_like(grads, packed)),
            }
            seconds = interleave(calls, rounds=rounds)
            for form in ("tree", "packed"):
                row = compare(seconds[form], seconds["optax"])
                rows.append({"arrays": tree, "optimiser": name, "form": form} | row)
                print(
                    f"{tree:12} {name:14} {form:7} {row['ours_ms']:8.2f} "
                    f"{row['theirs_ms']:9.2f}  {row['ratio']:.2f} "
                    f"[{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]",
                    flush=True,
                )
    print(f"wrote {save('optimizer_step', rows)}")


if __name__ == "__main__":
    main()
