"""What does a step cost each chip of a mesh, by its size and by how the state lies?

ResNet-50 with one bottleneck a stage, full width, 224 pixels, bfloat16, 128 images a
chip, momentum; compiled for TPU slices and H100s that need not be there, in each layout.
Nothing runs: `pip install -e '.[train,compile]'`. A row is compiled once; a call that was
stopped goes on with the next, in the order of PLAN, and the tables name what is missing.

    python -m benchmarks.scaling [--targets v5e:2x2 h100:8] [--layouts zero1]
    python -m benchmarks.scaling --targets v5e:2x2 --smoke
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from benchmarks.compiled import PACKAGES, version_of
from benchmarks.compiled_steps import network_step
from benchmarks.scaling_model import PLAN, expected
from benchmarks.timing import RESULTS
from optix_tricks.ahead import compile_only_devices, compiled_facts
from optix_tricks.training import LAYOUTS, compile_step_on_mesh

OF_CHIP = {"stages": (1, 1, 1, 1), "width": 64, "size": 224, "batch": 128}
SMALL = {"stages": (1, 1, 1, 1), "width": 4, "size": 32, "batch": 8}


def row(
    target: str, layout: str, devices: Sequence[Any], of_chip: dict[str, Any]
) -> dict[str, Any]:
    """Compile a step in one layout; what each device does, and what was expected."""
    whole = of_chip | {"batch": of_chip["batch"] * len(devices)}
    function, state, batch = network_step("ours", **whole)
    mesh = Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))
    begun = time.perf_counter()
    step, placed = compile_step_on_mesh(function, mesh, state, layout=layout)
    lowered = step.lower(placed, batch)  # type: ignore[attr-defined]
    middle = time.perf_counter()
    compiled = lowered.compile()
    end = time.perf_counter()
    facts = compiled_facts(compiled)
    told = compiled.cost_analysis() or {}  # nothing for a GPU that is not there
    return {
        "target": target,
        "layout": layout,
        "devices": len(devices),
        "batch": whole["batch"],
        **facts._asdict(),
        "memory": facts.memory,
        "flops": told.get("flops"),
        "accessed": told.get("bytes accessed"),
        "expected": expected(function, placed, batch, layout, of_chip)._asdict(),
        "trace_s": middle - begun,
        "compile_s": end - middle,
    }


def path_of(target: str) -> Path:
    """The file of all targets of a kind."""
    return RESULTS / f"scaling_{target.partition(':')[0]}.json"


def kept(target: str) -> list[dict[str, Any]]:
    """The rows of a kind that are there."""
    path = path_of(target)
    return json.loads(path.read_text())["rows"] if path.exists() else []


def missing(targets: Sequence[str], layouts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The pairs that are not compiled yet."""
    for target in targets:
        there = {(each["target"], each["layout"]) for each in kept(target)}
        yield from ((target, x) for x in layouts if (target, x) not in there)


def save(new: dict[str, Any]) -> None:
    """Write a row beside those of its kind, in the order of PLAN."""
    rows = sorted(
        [*kept(new["target"]), new],
        key=lambda x: (PLAN.index(x["target"]), LAYOUTS.index(x["layout"])),
    )
    versions = {name: version_of(name) for name in PACKAGES}
    result = {"versions": versions, "rows": rows}
    path_of(new["target"]).write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", nargs="+", choices=PLAN, default=PLAN)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--smoke", action="store_true", help="small, writes nothing")
    given = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
    todo = [(x, y) for x in given.targets for y in given.layouts]
    if not given.smoke:
        todo = [*missing(given.targets, given.layouts)]
    for i, (target, layout) in enumerate(todo, start=1):
        print(f"[{i} of {len(todo)}] {target}, {layout} ...", flush=True)
        of_chip = SMALL if given.smoke else OF_CHIP
        new = row(target, layout, compile_only_devices(target), of_chip)
        print(json.dumps(new), flush=True)
        if not given.smoke:
            save(new)


if __name__ == "__main__":
    main()
