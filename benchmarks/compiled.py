"""What does the compiler make of our steps for an H100 and a TPU v5e, and of Optax's?

Nothing runs, and no accelerator is needed: `pip install -e '.[train,compile]'`. Ours
beside plain Optax and flax.nnx of the same network, compiled for one device, or eight.

    step          ResNet-50, bfloat16; h100: whole, 256 images of 224 pixels; v5e: one
                  bottleneck a stage, 128 images, as the whole takes the compiler long
    block         convolution, norm, relu, convolution, forward and backward
    collectives   a network of 17 norms over eight devices
    adam, int8    an optimiser's step: packed arrays of ResNet-50's sizes; six arrays of
                  2048 x 2048 in int8 slots

    python -m benchmarks.compiled h100 v5e [--parts block int8]
    python -m benchmarks.compiled h100 --smoke
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from jax.sharding import (
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    SingleDeviceSharding,
)

from benchmarks.compiled_steps import Side, block, int8_step, network_step, packed_step
from benchmarks.timing import RESULTS
from optix_tricks.ahead import compile_only_devices, compiled_facts

SIDES: tuple[Side, ...] = ("ours", "plain")
EIGHT = {"h100": "h100:8", "v5e": "v5e:2x4"}
PACKAGES = ("jax", "libtpu", "jax-cuda13-pjrt", "flax", "optax")
WHOLE = {"h100": ((3, 4, 6, 3), 256), "v5e": ((1, 1, 1, 1), 128)}  # stages, batch


def measured(
    function: Callable[..., Any], shardings: Any, *shapes: Any
) -> dict[str, Any]:
    """Compile for devices that only compile; what is read, and how long it took."""
    placed = [_on(*each) for each in zip(shardings, shapes, strict=True)]
    begun = time.perf_counter()
    traced = jax.jit(function, donate_argnums=0).trace(*placed)
    lowered = traced.lower()
    middle = time.perf_counter()
    facts = compiled_facts(lowered.compile())
    end = time.perf_counter()
    return facts._asdict() | {
        "memory": facts.memory,
        "equations": equations(traced.jaxpr.jaxpr),
        "trace_s": middle - begun,
        "compile_s": end - middle,
    }


def _on(sharding: Any, tree: Any) -> Any:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )


def equations(jaxpr: Any) -> int:
    """Of a jaxpr with all that it calls."""
    inner = (
        x
        for equation in jaxpr.eqns
        for value in equation.params.values()
        for x in (value if isinstance(value, tuple | list) else [value])
    )
    inner = (getattr(x, "jaxpr", x) for x in inner)
    return len(jaxpr.eqns) + sum(equations(x) for x in inner if hasattr(x, "eqns"))


def rows(target: str, parts: list[str], *, smoke: bool) -> Iterator[dict[str, Any]]:
    """Compile one part after the other, ours and the plain one."""
    one = SingleDeviceSharding(compile_only_devices(target)[0])
    stages, batch = ((1, 1, 1, 1), 8) if smoke else WHOLE[target]
    size, width = (32, 4) if smoke else (224, 64)
    small = {"stages": (1, 1, 1, 1), "width": 8, "size": 32, "batch": 64}
    whole = {"stages": stages, "width": width, "size": size, "batch": batch}
    steps: dict[str, tuple[Callable[[Side], Any], Any]] = {
        "block": (lambda side: block(side, batch=8 if smoke else 256), [one] * 4),
        "collectives": (lambda side: network_step(side, **small), _on_eight(target)),
        "adam": (lambda side: packed_step(side, width=width), [one] * 2),
        "int8": (lambda side: int8_step(side, size=128 if smoke else 2048), [one] * 2),
        "step": (lambda side: network_step(side, **whole), [one] * 2),
    }
    for part in parts:
        for side in SIDES:
            make, shardings = steps[part]
            function, *shapes = make(side)
            row = {"part": part, "side": side, **measured(function, shardings, *shapes)}
            print(target, json.dumps(row), flush=True)
            yield row


def _on_eight(target: str) -> list[NamedSharding]:
    """Of state and batch."""
    devices = np.array(compile_only_devices(EIGHT[target]))
    mesh = Mesh(devices, ("data",), axis_types=(AxisType.Auto,))
    return [
        NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec("data"))
    ]


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ["block", "collectives", "adam", "int8", "step"]
    parser.add_argument("targets", nargs="+", choices=WHOLE)
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--smoke", action="store_true", help="small, writes nothing")
    given = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
    for target in given.targets:
        path = RESULTS / f"compiled_{target}.json"
        kept = json.loads(path.read_text())["rows"] if path.exists() else []
        for row in rows(target, given.parts, smoke=given.smoke):
            if given.smoke:
                continue
            same = row["part"], row["side"]
            kept = [x for x in kept if (x["part"], x["side"]) != same] + [row]
            result = {
                "target": target,
                "versions": {name: version_of(name) for name in PACKAGES},
                "rows": kept,
            }
            path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
