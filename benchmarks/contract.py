"""What does the contract find of Optax's own optimisers, and of ours of the same names?

Every column of `optix_tricks.testing` on eight CPU devices, with the lines that reproduce
what fails, into results/contract.json; docs/contract.md shows it. Each line is run as it
stands in a process of its own, and the result says what it raised.

    python -m benchmarks.contract
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import optax

import optix_tricks as ot
from benchmarks.timing import RESULTS
from optix_tricks import testing

SGD = {"learning_rate": 0.1, "momentum": 0.9}
ADAM = {"learning_rate": 0.1, "b1": 0.9, "b2": 0.99}
DECAYED = ADAM | {"weight_decay": 0.1}
SUBJECTS: dict[str, list[tuple[Callable[..., Any], dict[str, float]]]] = {
    "optax": [
        (optax.sgd, SGD),
        (optax.rmsprop, {"learning_rate": 0.1, "decay": 0.9}),
        (optax.adam, ADAM),
        (optax.adamw, DECAYED),
        (optax.adabelief, ADAM),
        (optax.lion, ADAM),
        (optax.lars, {"learning_rate": 0.1, "weight_decay": 0.1}),
        (optax.lamb, DECAYED),
        (optax.adafactor, {"learning_rate": 0.1}),
        (optax.contrib.muon, {"learning_rate": 0.1, "beta": 0.9}),
    ],
    "optix_tricks": [
        (ot.sgd, SGD),
        (ot.rmsprop, {"learning_rate": 0.1, "decay": 0.9}),
        (ot.adam, ADAM),
        (ot.adamw, DECAYED),
        (ot.lars, {"learning_rate": 0.1, "weight_decay": 0.1}),
        (ot.lamb, DECAYED),
    ],
}
PACKAGES = ("jax", "jaxlib", "optax", "flax", "orbax-checkpoint", "equinox", "numpy")


def shown(line: str) -> str:
    """What the line raises in a process of its own; empty if nothing."""
    code = f"{testing.IMPORTS}, optix_tricks; {line}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    raised = [x for x in done.stderr.splitlines() if x and not x.startswith(" ")]
    error = next(x for x in raised if x.split(":")[0].endswith(("Error", "Exception")))
    return error[:200]


def main() -> None:
    subjects = []
    for room, rows in SUBJECTS.items():
        for factory, hyperparams in rows:
            table = testing.check_transformation(factory, hyperparams=hyperparams)
            print(table, flush=True)
            found = [
                {"column": row.column, "outcome": row.outcome, "reason": row.reason}
                for row in table.rows
            ]
            for row, entry in zip(table.rows, found, strict=True):
                if row.reproduction:
                    entry["reproduction"] = row.reproduction
                    entry["raises"] = shown(row.reproduction)
            subjects.append({"room": room, "subject": table.subject, "rows": found})
    content = {
        "benchmark": "contract",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "optix_tricks": ot.__version__,
        "imports": testing.IMPORTS,
        "subjects": subjects,
    }
    path = RESULTS / "contract.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
