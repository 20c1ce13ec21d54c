"""How many images a second does ResNet-50 train on, and how near is that to the peak?

ImageNet's shapes, one batch of noise that lies on the device as uint8, normalised inside
the step; momentum and decay of the ImageNet recipe, without its augmentation. Every
variant is called in blocks of steps that take turns within every round, PyTorch's step
(`torch_resnet50`) among them:

    step           the recipe's step, one compiled program, its state donated
    loss           the same without the metrics beside the loss
    scan           a block of steps as one program
    flax-norm      flax's batch norm in place of ours
    float32        the step, with activations in float32
    torch          channels last, autocast to bfloat16, torch.compile, fused optimiser
    torch-float32  the same without autocast

    python -m benchmarks.resnet50 [--batch-sizes 256 512] [--variants step torch]
    python -m benchmarks.resnet50 --image-size 32 --width 8 --batch-sizes 4 --smoke
"""

import argparse
import functools
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

import optix_tricks as ot
from benchmarks.flops import training_flops
from benchmarks.timing import compare, interleave, save
from optix_tricks.layers import BatchNorm
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    ResNet50,
    TrainState,
    chip_of,
    create_state,
    functional,
    jit,
    make_train_step,
    normalize,
    policy,
)

CLASSES = 1000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RATE, DECAY = 0.01, 1e-4  # a rate at which the loss of noise stays finite


class Variant(NamedTuple):
    """What of our step is another."""

    dtype: str = "bfloat16"
    norm: Callable[..., Any] = BatchNorm
    metrics: bool = True
    scan: bool = False


OURS = {
    "step": Variant(),
    "loss": Variant(metrics=False),
    "scan": Variant(scan=True),
    "flax-norm": Variant(norm=nnx.BatchNorm),
    "float32": Variant(dtype="float32"),
}
THEIRS = {"torch": "bfloat16", "torch-float32": "float32"}
DTYPES = {name: variant.dtype for name, variant in OURS.items()} | THEIRS
Block = Callable[[], Any]


def network(width: int, stages: tuple[int, ...], variant: Variant) -> nnx.Module:
    options = {"norm": variant.norm, **policy(variant.dtype).of_network}
    return ResNet50(CLASSES, stages=stages, width=width, **options, rngs=nnx.Rngs(0))


def make_optimizer() -> optax.GradientTransformation:
    """The recipe's, at a constant rate."""
    return optax.chain(
        ot.add_decayed_weights(DECAY, mask=ot.no_bias_or_norm),
        ot.sgd(RATE, momentum=0.9, nesterov=True),
    )


@functools.cache
def first_state(width: int, stages: tuple[int, ...]) -> TrainState:
    """Of all variants: what they differ in is not in the state."""

    def made() -> TrainState:
        _, params, stats = functional(network(width, stages, Variant()))
        return create_state(params, stats, make_optimizer(), jax.random.key(0))

    return jax.jit(made)()


def our_block(
    given: argparse.Namespace, variant: Variant, batch: Batch
) -> tuple[Block, dict[str, Any]]:
    """A call of some steps, already compiled, and what the compiler says of it."""
    apply, _, _ = functional(
        nnx.eval_shape(lambda: network(given.width, given.stages, variant)),
        preprocess=normalize(jnp.array(MEAN), jnp.array(STD)),
    )
    step = make_train_step(apply, cross_entropy, make_optimizer())

    def kept(state: Any, batch: Batch) -> tuple[Any, Any]:
        state, metrics = step(state, batch)
        return state, metrics if variant.metrics else {"loss": metrics["loss"]}

    def scanned(state: Any, batch: Batch) -> tuple[Any, Any]:
        return lax.scan(lambda s, _: kept(s, batch), state, length=given.steps)

    held = [jax.tree.map(jnp.copy, first_state(given.width, given.stages))]
    begun = time.perf_counter()
    function = jit(scanned if variant.scan else kept, donate_argnums=0)
    compiled = function.lower(held[0], batch).compile()
    seconds = time.perf_counter() - begun

    def block() -> Any:
        for _ in range(1 if variant.scan else given.steps):
            held[0], metrics = compiled(held[0], batch)
        return metrics["loss"]

    memory = compiled.memory_analysis()
    parts = ("temp", "argument", "output", "alias")
    sizes = {part: getattr(memory, f"{part}_size_in_bytes") for part in parts}
    facts = {
        "compiled": "jit",
        "compile_s": seconds,
        "memory_bytes": sum(sizes.values()) - 2 * sizes["alias"],  # donated: once
        "memory": sizes,
    }
    if not variant.scan:
        facts["program_flops"] = compiled.cost_analysis()["flops"] / len(batch.targets)
    jax.block_until_ready(block())
    if held_bytes := jax.devices()[0].memory_stats():
        facts["process_peak_bytes"] = held_bytes["peak_bytes_in_use"]
    return block, facts


def their_block(
    given: argparse.Namespace, dtype: str, batch: Batch
) -> tuple[Block, dict[str, Any]]:
    """PyTorch's, on the device that JAX is on."""
    from benchmarks import torch_resnet50

    return torch_resnet50.block_of_steps(
        torch_resnet50.ResNet50(given.width, given.stages, CLASSES, MEAN, STD),
        np.array(batch.inputs),
        np.array(batch.targets),
        rate=RATE,
        decay=DECAY,
        dtype=dtype,
        mode=given.torch_compile,
        steps=given.steps,
        device="cpu" if jax.default_backend() == "cpu" else "cuda",
    )


def prepared(
    given: argparse.Namespace, names: list[str], batch: Batch
) -> tuple[dict[str, Block], dict[str, dict[str, Any]]]:
    """The blocks that fit in memory, and what is known of all of them."""
    blocks, facts = {}, {}
    for name in names:
        try:
            if name in OURS:
                blocks[name], facts[name] = our_block(given, OURS[name], batch)
            else:
                blocks[name], facts[name] = their_block(given, THEIRS[name], batch)
        except RuntimeError as error:
            if not any(s in str(error) for s in ("out of memory", "RESOURCE_EXHAUSTED")):
                raise
            facts[name] = {"failed": "out of memory"}
        print(f"{name}: {facts[name]}", flush=True)
    return blocks, facts


def measure(
    given: argparse.Namespace, names: list[str], batch_size: int
) -> list[dict[str, Any]]:
    """A row a variant."""
    rng = np.random.default_rng(0)
    shape = batch_size, given.image_size, given.image_size, 3
    batch = Batch(
        jnp.asarray(rng.integers(0, 256, shape, dtype=np.uint8)),
        jnp.asarray(rng.integers(0, CLASSES, batch_size)),
    )
    blocks, facts = prepared(given, names, batch)
    seconds = interleave(blocks, rounds=given.rounds, warmup=1)
    settings = {k: getattr(given, k) for k in ("image_size", "width", "stages")}
    flops = training_flops(**settings, classes=CLASSES)
    chip = chip_of(jax.devices()[0].device_kind)
    rows = []
    for name, known in facts.items():
        row = {"variant": name, "batch_size": batch_size, **settings, "flops": flops}
        rows.append(row | known)
        if name not in blocks:
            continue
        of_step = [s / given.steps for s in seconds[name]]
        low, middle, high = statistics.quantiles(of_step, n=4)
        peak = chip.flops if chip and DTYPES[name] == "bfloat16" else None
        rows[-1] |= {
            "step_ms": 1e3 * middle,
            "images_per_s": batch_size / middle,
            "images_per_s_low": batch_size / high,
            "images_per_s_high": batch_size / low,
            "fraction_of_peak": batch_size * flops / middle / peak if peak else None,
            "loss": float(np.ravel(blocks[name]())[-1]),
            "steps": given.steps,
            "rounds": given.rounds,
        }
        peer = next(key for key, dtype in THEIRS.items() if dtype == DTYPES[name])
        if name in OURS and peer in blocks:
            times = compare(seconds[peer], seconds[name])
            rows[-1] |= {
                f"over_torch{end}": times[f"ratio{end}"] for end in ("_low", "", "_high")
            }
    return rows


def available(names: list[str]) -> list[str]:
    """Those variants that can run here."""
    torch = importlib.util.find_spec("torch") and importlib.import_module("torch")
    if torch and (jax.default_backend() == "cpu" or torch.cuda.is_available()):
        return names
    found = "PyTorch sees no accelerator" if torch else "PyTorch is not installed"
    print(f"{found}: no comparison with it", flush=True)
    return [name for name in names if name not in THEIRS]


def show(rows: list[dict[str, Any]]) -> None:
    """The table: medians, quartiles in brackets."""
    print(
        f"{'batch':>5}  {'variant':13} {'images/s':>9} {'quartiles':^20} {'ms/step':>8} "
        f"{'of peak':>7} {'GB':>6} {'compile':>8}  over PyTorch"
    )
    for row in rows:
        start = f"{row['batch_size']:5}  {row['variant']:13}"
        if "failed" in row:
            print(f"{start} {row['failed']}")
            continue
        ends = f"[{row['images_per_s_low']:.0f}, {row['images_per_s_high']:.0f}]"
        peak, held = row["fraction_of_peak"], row.get("memory_bytes")
        last = row["compiled"]
        if "over_torch" in row:
            last = "{over_torch:.2f} [{over_torch_low:.2f}, {over_torch_high:.2f}]"
        print(
            f"{start} {row['images_per_s']:9.1f} {ends:^20} {row['step_ms']:8.2f} "
            f"{f'{peak:.1%}' if peak else '-':>7} "
            f"{f'{held / 1e9:.2f}' if held else '-':>6} {row['compile_s']:6.1f} s  "
            + last.format(**row)
        )


def parsed() -> argparse.Namespace:
    """Sizes that suit the device, if none are given."""
    cpu = jax.default_backend() == "cpu"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=64 if cpu else 224)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--stages", type=int, nargs=4, default=(3, 4, 6, 3))
    sizes = [16] if cpu else [256, 512]
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=sizes)
    parser.add_argument("--steps", type=int, default=1 if cpu else 10, help="of a block")
    parser.add_argument("--rounds", type=int, default=7 if cpu else 12)
    parser.add_argument("--variants", nargs="+", choices=(*OURS, *THEIRS))
    modes, mode = ("eager", "default", "max-autotune"), "eager" if cpu else "default"
    parser.add_argument("--torch-compile", choices=modes, default=mode)
    parser.add_argument("--smoke", action="store_true", help="writes nothing")
    given = parser.parse_args()
    given.stages = tuple(given.stages)
    return given


def main() -> None:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch has a part
    given = parsed()
    if not given.smoke:  # compile times are measured
        jax.config.update("jax_enable_compilation_cache", False)
    if given.variants:
        first = others = given.variants
    elif jax.default_backend() == "cpu":  # where loops of convolutions are slow
        first = others = ["step", "float32", "torch", "torch-float32"]
    else:
        first = ["step", "loss", "scan", "flax-norm", "float32", "torch"]
        others = ["step", "scan", "torch"]
    rows: list[dict[str, Any]] = []
    for batch_size in given.batch_sizes:
        names = others if rows else first
        rows += measure(given, available(names), batch_size)
        if not given.smoke:
            print(f"wrote {save('resnet50', rows)}")
    show(rows)


if __name__ == "__main__":
    main()
