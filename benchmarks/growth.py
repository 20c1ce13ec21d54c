"""How do costs grow with the size of what is trained?

    step       an Adam step against parameters, in 50 arrays
    leaves     tracing and compiling an optimiser step against the number of arrays
    depth      tracing and compiling a ResNet's training step against blocks a stage
    epoch      an epoch of an MLP against images, which lie on the device
    curvature  a gradient, a Hessian-vector product, 10 Lanczos steps against parameters

Each curve is a median with quartiles at every size, and a power law through the sizes
above its floor (`exponents`). `growth_figure` draws them.

    python -m benchmarks.growth [--parts step leaves] [--smoke]
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import optix_tricks as ot
from benchmarks.exponents import above_floor, fit_power_law
from benchmarks.optimizer_step import transformed, update_and_apply
from benchmarks.timing import interleave, save
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    ResNet18,
    create_state,
    epoch_order,
    functional,
    jit,
    make_epoch,
    make_train_step,
)

Calls = dict[str, Callable[[], Any]]  # of each curve, at one size
Times = dict[str, list[float]]
Growth = Iterator[tuple[int, Times]]

SIZES: dict[str, tuple[int, ...]] = {
    "step": tuple(k * 10**n for n in (4, 5, 6, 7) for k in (1, 3)),
    "leaves": (10, 30, 100, 250, 500),
    "depth": (1, 2, 4, 6),
    "epoch": tuple(2**n for n in range(9, 17)),
    "curvature": (8, 32, 128, 256, 512, 1024),  # units of a hidden layer
}
SMALLEST: dict[str, tuple[int, ...]] = {
    "step": (1000, 10_000, 100_000),
    "leaves": (4, 8, 16),
    "depth": (1, 2),
    "epoch": (128, 256, 512),
    "curvature": (4, 8),
}
LEAVES = 50
MATVECS = 10


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int  # at each size
    patience: float  # seconds; a curve of compilations ends at a size that takes longer


def steps(sizes: tuple[int, ...], effort: Effort) -> Growth:
    """Adam; the tree and the packed form take turns."""
    for size in sizes:
        shape = size // LEAVES // 10, 10
        tree = {str(i): jnp.ones(shape) for i in range(LEAVES)}
        forms = {"tree": tree, "packed": ot.pack(tree)}
        calls = {name: transformed(ot.adam(1e-3), x, x).call for name, x in forms.items()}
        yield size, interleave(calls, rounds=effort.rounds)


def compilations(calls_at: Callable[[int], Calls], sizes: Any, effort: Effort) -> Growth:
    """Time calls that compile: each at most so often, and once where it takes long."""
    ended: set[str] = set()
    for size in sizes:
        calls = {k: call for k, call in calls_at(size).items() if k not in ended}
        seconds: Times = {name: [] for name in calls}
        for _ in range(effort.rounds):
            for name, call in calls.items():
                if sum(seconds[name]) <= effort.patience / 4:
                    start = time.perf_counter()
                    call()
                    seconds[name].append(time.perf_counter() - start)
        ended |= {name for name in calls if seconds[name][0] > effort.patience}
        yield size, seconds


def leaves(sizes: tuple[int, ...], effort: Effort) -> Growth:
    """AdamW behind a clip, and LARS; ours as a tree and packed, and Optax's."""
    adamw = {
        "": lambda: optax.chain(ot.clip_by_global_norm(1.0), ot.adamw(1e-3)),
        "Optax": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
    }
    lars = {
        "": lambda: ot.lars(0.1, weight_decay=1e-4, mask=None),
        "Optax": lambda: optax.lars(0.1, weight_decay=1e-4),
    }

    def compile_step(make: Callable[[], Any], params: Any) -> None:
        tx = make()
        state = jax.eval_shape(tx.init, params)
        step = jax.jit(update_and_apply(tx), donate_argnums=(0, 1))
        step.lower(params, state, params).compile()

    def calls_at(size: int) -> Calls:
        shapes = [(8 + i % 7, 16) for i in range(size)]
        tree = {str(i): jax.ShapeDtypeStruct(s, float) for i, s in enumerate(shapes)}
        packed = jax.eval_shape(ot.pack, tree)
        forms = {"tree": ("", tree), "packed": ("", packed), "Optax": ("Optax", tree)}
        return {
            f"{name}, {form}": functools.partial(compile_step, makers[whose], params)
            for name, makers in (("clip + AdamW", adamw), ("LARS", lars))
            for form, (whose, params) in forms.items()
        }

    return compilations(calls_at, sizes, effort)


def depth(sizes: tuple[int, ...], effort: Effort) -> Growth:
    """Four stages of basic blocks of width 8, on 8 images of 16 pixels."""
    batch = jax.eval_shape(
        lambda: Batch(jnp.zeros((8, 16, 16, 3), jnp.uint8), jnp.zeros(8, jnp.int32))
    )
    tx = ot.sgd(0.1, momentum=0.9)

    def compile_step(stages: tuple[int, ...]) -> None:
        model = nnx.eval_shape(
            lambda: ResNet18(10, stages=stages, width=8, stem="cifar", rngs=nnx.Rngs(0))
        )
        apply, params, stats = functional(
            model, preprocess=lambda x: x.astype(jnp.float32)
        )
        state = jax.eval_shape(
            lambda p, s: create_state(p, s, tx, jax.random.key(0)), params, stats
        )
        step = make_train_step(apply, cross_entropy, tx)
        jit(step, donate_argnums=0).lower(state, batch).compile()

    def calls_at(size: int) -> Calls:
        return {"ResNet": functools.partial(compile_step, (size,) * 4)}

    return compilations(calls_at, sizes, effort)


def epochs(sizes: tuple[int, ...], effort: Effort) -> Growth:
    """Shuffling and one epoch of batches of 64 images of 8 x 8."""
    from benchmarks.networks import images, mlp

    job = mlp().job
    epoch = make_epoch(job.step)
    held = [create_state(job.params, job.batch_stats, job.tx, jax.random.key(0))]

    def one_epoch(data: Batch) -> Any:
        order = epoch_order(jax.random.key(1), 0, len(data.targets), job.batch_size)
        held[0], series = epoch(held[0], data, order)
        return series

    for size in sizes:
        call = functools.partial(one_epoch, images(size, (8, 8, 1)))
        yield size, interleave({"MLP": call}, rounds=effort.rounds, warmup=1)


def curvature(sizes: tuple[int, ...], effort: Effort) -> Growth:
    """An MLP with two hidden layers, at 64 examples."""
    from optix_tricks import dynamics

    key = jax.random.key(0)
    inputs = jax.random.normal(key, (64, 64))
    labels = jax.random.randint(key, (64,), 0, 10)

    def loss(params: list[Any]) -> Any:
        *hidden, head = params
        x = inputs
        for kernel in hidden:
            x = jnp.tanh(x @ kernel)
        return jnp.mean(cross_entropy(x @ head, labels))

    def product(params: list[Any]) -> Any:
        return dynamics.hessian_operator(loss, params)(params)

    def lanczos(params: list[Any]) -> Any:
        matvec = dynamics.hessian_operator(loss, params)
        return dynamics.eigenpairs(matvec, params, num_matvecs=MATVECS, key=key)

    kinds = {"gradient": jax.grad(loss), "product": product, "eigenpairs": lanczos}
    for units in sizes:
        shapes = (64, units), (units, units), (units, 10)
        params = [jax.random.normal(key, s) / s[0] ** 0.5 for s in shapes]
        calls: Calls = {
            name: functools.partial(jax.jit(kind), params) for name, kind in kinds.items()
        }
        size = sum(x.size for x in params)
        yield size, interleave(calls, rounds=effort.rounds, warmup=1)


PARTS: dict[str, tuple[Callable[[tuple[int, ...], Effort], Growth], int]] = {
    "step": (steps, 15),
    "leaves": (leaves, 2),
    "depth": (depth, 3),
    "epoch": (epochs, 5),
    "curvature": (curvature, 5),
}


def curve(part: str, name: str, found: list[tuple[int, Times]]) -> dict[str, Any]:
    """A row: the points, and the power law through those above the floor."""
    sizes = [size for size, times in found if name in times]
    times = [times[name] for _, times in found if name in times]
    ends = [statistics.quantiles(t, n=4) if len(t) > 1 else t * 3 for t in times]
    low, middle, high = (list(column) for column in zip(*ends, strict=True))
    kept = above_floor(middle)
    law = fit_power_law(sizes[kept], middle[kept])
    print(
        f"{part:10} {name:22} {middle[0]:9.2e} s at {sizes[0]:,} to {middle[-1]:9.2e} s "
        f"at {sizes[-1]:,}: exponent {law.exponent:.2f} ± {law.error:.2f} "
        f"from {law.first:,} on",
        flush=True,
    )
    return {
        "part": part,
        "curve": name,
        "sizes": sizes,
        "seconds": middle,
        "seconds_low": low,
        "seconds_high": high,
        "repeats": [len(t) for t in times],
        **law._asdict(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--patience",
        type=float,
        default=12.0,
        help="seconds; a curve of compilations ends at a size that takes longer",
    )
    parser.add_argument("--smoke", action="store_true", help="smallest; writes nothing")
    given = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)  # compilation is measured
    rows = []
    for part in given.parts:
        start = time.perf_counter()
        measure, rounds = PARTS[part]
        sizes = (SMALLEST if given.smoke else SIZES)[part]
        effort = Effort(1 if given.smoke else rounds, given.patience)
        found = list(measure(sizes, effort))
        rows += [curve(part, name, found) for name in found[0][1]]
        print(f"{part:10} took {time.perf_counter() - start:.0f} s", flush=True)
    if not given.smoke:
        print(f"wrote {save('growth', rows)}")


if __name__ == "__main__":
    main()
