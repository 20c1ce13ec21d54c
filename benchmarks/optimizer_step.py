"""How long is one optimiser step, against Optax's, a hand-written one's and PyTorch's?

Update and apply in one compiled program, parameters and state donated, on ResNet-50's 161
arrays (25.6 M), on 161 tiny ones, and on 2,000 of 4,096 elements:

    optax    the same chain of Optax
    hand     the equations in one `jax.tree.map`, without masks, reports or schedules
    tree     ours, the drop-in form
    packed   ours, parameters, state and gradients in a few buffers from step to step
    int8     ours as a tree, the moments in bytes
    foreach  PyTorch's optimiser with `foreach=True`
    fused    PyTorch's optimiser with `fused=True`

Each form has a process of its own (`processes`), and two are made ready at a time: Optax
beside our tree. Hand and int8 are left out of the 2,000 arrays.

    python -m benchmarks.optimizer_step [--rounds 15] [--arrays NAME ..] [--smoke]
"""

import argparse
import collections
import functools
import importlib.util
import time
from collections.abc import Callable
from itertools import zip_longest
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import optix_tricks as ot
from benchmarks.processes import Candidate, take_turns
from benchmarks.timing import compare, copy_bandwidth, save
from optix_tricks.training import ResNet50

RATE, DECAY, CLIP = 1e-3, 1e-4, 1.0


def hand_sgd(w: Any, g: Any, s: Any, t: Any, scale: Any = 1.0, decay: float = 0.0) -> Any:
    v = 0.9 * s[0] + scale * g + decay * w
    return w - RATE * v, (v,)


def hand_adam(
    w: Any, g: Any, s: Any, t: Any, scale: Any = 1.0, decay: float = 0.0
) -> Any:
    g = scale * g
    mu, nu = 0.9 * s[0] + 0.1 * g, 0.999 * s[1] + 0.001 * g * g
    root = jnp.sqrt(nu / (1 - 0.999**t)) + 1e-8
    return w - RATE * (mu / (1 - 0.9**t) / root + decay * w), (mu, nu)


def hand_lars(
    w: Any, g: Any, s: Any, t: Any, scale: Any = 1.0, decay: float = 0.0
) -> Any:
    g = g + DECAY * w
    norm, of_g = jnp.linalg.norm(w.ravel()), jnp.linalg.norm(g.ravel())
    v = 0.9 * s[0] + RATE * 0.001 * norm / of_g * g
    return w - v, (v,)


class Case(NamedTuple):
    """One optimiser, five times."""

    ours: Callable[[], Any]
    optax: Callable[[], Any]
    hand: Callable[..., Any]
    slots: int
    passes: int  # over arrays of the parameters' size, read or written, at the least
    clip: bool = False
    decay: float = 0.0
    torch: str | None = None
    torch_options: dict[str, Any] = {}  # noqa: RUF012


CASES = {
    "sgd-momentum": Case(
        lambda: ot.sgd(RATE, momentum=0.9),
        lambda: optax.sgd(RATE, momentum=0.9),
        *(hand_sgd, 1, 5),
        torch="SGD",
        torch_options={"momentum": 0.9},
    ),
    "adam": Case(
        lambda: ot.adam(RATE), lambda: optax.adam(RATE), hand_adam, 2, 7, torch="Adam"
    ),
    "clip+adamw": Case(
        lambda: optax.chain(ot.clip_by_global_norm(CLIP), ot.adamw(RATE)),
        lambda: optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(RATE)),
        *(hand_adam, 2, 8),
        clip=True,
        decay=DECAY,
        torch="AdamW",
        torch_options={"weight_decay": DECAY},
    ),
    "clip+decay+sgd": Case(
        lambda: optax.chain(
            ot.clip_by_global_norm(CLIP),
            ot.add_decayed_weights(DECAY),
            ot.sgd(RATE, momentum=0.9),
        ),
        lambda: optax.chain(
            optax.clip_by_global_norm(CLIP),
            optax.add_decayed_weights(DECAY),
            optax.sgd(RATE, momentum=0.9),
        ),
        *(hand_sgd, 1, 6),
        clip=True,
        decay=DECAY,
        torch="SGD",
        torch_options={"momentum": 0.9, "weight_decay": DECAY},
    ),
    "lars": Case(
        lambda: ot.lars(RATE, weight_decay=DECAY, mask=None),
        lambda: optax.lars(RATE, weight_decay=DECAY),
        *(hand_lars, 1, 7),
    ),
}


ARRAYS = ("resnet50", "161 tiny", "2000 x 4096")


@functools.cache
def arrays_of(name: str) -> Any:
    """Parameters, in the memory of the host."""
    if name == "resnet50":
        model = nnx.eval_shape(lambda: ResNet50(1000, rngs=nnx.Rngs(0)))
        tree = nnx.to_pure_dict(nnx.state(model, nnx.Param))
        shapes = jax.tree.map(lambda x: x.shape, tree)
    elif name == "161 tiny":
        shapes = {str(i): (8 + i % 7, 16) for i in range(161)}
    else:
        shapes = {str(i): (64, 64) for i in range(2000)}
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda shape: rng.standard_normal(shape, np.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


class Compiled(NamedTuple):
    """A call that makes one step and keeps what it donates, and what it took to make."""

    call: Callable[[], Any]
    facts: dict[str, float]


def compiled(step: Callable[..., Any], params: Any, state: Any, grads: Any) -> Compiled:
    """Compile `step(params, state, grads) -> (params, state)`."""
    held = [jax.tree.map(jnp.copy, params), state]
    start = time.perf_counter()
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(*held, grads)
    traced = time.perf_counter()
    program = lowered.compile()
    done = time.perf_counter()

    def call() -> Any:
        held[:] = program(*held, grads)
        return held[0]

    facts = {
        "trace_s": traced - start,
        "compile_s": done - traced,
        "instructions": program.as_text().count(" = "),
        "state_bytes": sum(x.nbytes for x in jax.tree.leaves(state)),
    }
    return Compiled(call, facts)


def update_and_apply(tx: Any) -> Callable[..., Any]:
    """Return `step(params, state, grads) -> (params, state)`."""

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return step


def transformed(tx: Any, params: Any, grads: Any) -> Compiled:
    """Of an Optax transformation."""
    return compiled(update_and_apply(tx), params, tx.init(params), grads)


def by_hand(case: Case, params: Any, grads: Any) -> Compiled:
    """Of the equations."""

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        t, slots = state[0] + 1, state[1:]
        scale = 1.0
        if case.clip:
            squares = [jnp.sum(g * g) for g in jax.tree.leaves(grads)]
            scale = jnp.minimum(1.0, CLIP / jnp.sqrt(sum(squares)))
        results = jax.tree.map(
            lambda w, g, *s: case.hand(w, g, s, t, scale, case.decay),
            *(params, grads, *slots),
        )
        pairs = jax.tree.structure((0, (0,) * case.slots))
        params, slots = jax.tree.transpose(jax.tree.structure(params), pairs, results)
        return params, (t, *slots)

    slots = [jax.tree.map(jnp.zeros_like, params) for _ in range(case.slots)]
    return compiled(step, params, (jnp.float32(0), *slots), grads)


def of_torch(case: Case, form: str, params: Any, grads: Any) -> Compiled:
    """Of PyTorch's optimiser of that name, on the same kind of device."""
    import torch

    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    held = []
    for w, g in zip(jax.tree.leaves(params), jax.tree.leaves(grads), strict=True):
        tensor = torch.from_numpy(np.array(w)).to(device).requires_grad_()
        tensor.grad = torch.from_numpy(np.array(g)).to(device)
        held.append(tensor)
    make = getattr(torch.optim, case.torch or "")
    optimizer = make(held, lr=RATE, **{form: True}, **case.torch_options)

    def call() -> Any:
        if case.clip:
            torch.nn.utils.clip_grad_norm_(held, CLIP, foreach=True)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    start = time.perf_counter()
    call()
    return Compiled(call, {"trace_s": 0.0, "compile_s": time.perf_counter() - start})


def forms_of(case: Case, arrays: str) -> list[str]:
    """What is compared."""
    forms = ["optax", "tree", "packed"]
    if arrays != "2000 x 4096":  # which takes minutes to compile
        forms += ["hand"] + ["int8"] * (case.slots == 2 and not case.clip)
    if case.torch and importlib.util.find_spec("torch"):
        forms += ["foreach", "fused"]
    return forms


def build(arrays: str, name: str, form: str) -> Compiled:
    """Of one optimiser in one form, in its own process."""
    case = CASES[name]
    host = arrays_of(arrays)
    if form in ("foreach", "fused"):
        return of_torch(case, form, host, jax.tree.map(lambda x: 1e-3 * x, host))
    params = jax.tree.map(jnp.asarray, host)
    grads = jax.tree.map(lambda x: 1e-3 * x, params)
    if form == "hand":
        return by_hand(case, params, grads)
    if form == "packed":
        packed = ot.pack(params)
        return transformed(case.ours(), packed, ot.pack_like(grads, packed))
    if form == "int8":
        return transformed(ot.adam(RATE, state_dtype="int8"), params, grads)
    return transformed(case.optax() if form == "optax" else case.ours(), params, grads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--arrays", nargs="+", choices=ARRAYS, default=ARRAYS)
    parser.add_argument("--smoke", action="store_true", help="tiny; writes nothing")
    given = parser.parse_args()
    rounds = 3 if given.smoke else given.rounds
    rows: list[dict[str, Any]] = []
    processes: dict[str, Candidate] = collections.defaultdict(Candidate)
    head = ("arrays", "optimiser", "form", "ms", "of Optax", "trace s", "compile s")
    print("{:12} {:15} {:8} {:>8} {:>19} {:>8} {:>10} bandwidth".format(*head))
    for arrays in ["161 tiny"] if given.smoke else given.arrays:
        size = sum(x.nbytes for x in jax.tree.leaves(arrays_of(arrays)))
        processes["copy"].begin(copy_bandwidth, size)
        moved = processes["copy"].made()
        for name, case in CASES.items():
            forms = forms_of(case, arrays)
            facts = {}
            for pair in zip_longest(forms[::2], forms[1::2]):  # Optax beside our tree
                both = [form for form in pair if form]
                for form in both:
                    processes[form].begin(build, arrays, name, form)
                facts |= {form: processes[form].made() for form in both}
            seconds = take_turns(
                {form: processes[form] for form in [*forms, "copy"]}, rounds=rounds
            )
            copied = moved / np.median(seconds["copy"])
            for form in forms:
                row = {"arrays": arrays, "optimiser": name, "form": form}
                row |= compare(seconds[form], seconds["optax"]) | facts[form]
                row["copy_bandwidth_share"] = (
                    case.passes * size / np.median(seconds[form]) / copied
                )
                rows.append(row)
                print(
                    f"{arrays:12} {name:15} {form:8} {row['ours_ms']:8.2f} "
                    f"{row['ratio']:5.2f} [{row['ratio_low']:.2f}, "
                    f"{row['ratio_high']:.2f}] {row['trace_s']:8.2f} "
                    f"{row['compile_s']:10.2f} {row['copy_bandwidth_share']:8.0%}",
                    flush=True,
                )
    if not given.smoke:
        print(f"wrote {save('optimizer_step', rows)}")


if __name__ == "__main__":
    main()
