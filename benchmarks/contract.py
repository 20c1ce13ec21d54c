"""What does the contract find of Optax's own optimisers, and of ours of the same names?

Every column of `optix_tricks.testing` on eight CPU devices, with the lines that reproduce
what fails, into results/contract.json; docs/contract.md shows it. Each line is run as it
stands, and the result says what it raised.

    python -m benchmarks.contract
"""

import json
import os
import platform
from collections.abc import Callable
from importlib import metadata
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
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
        (ot.muon, {"learning_rate": 0.1, "beta": 0.9}),
    ],
}
PACKAGES = ("jax", "jaxlib", "optax", "flax", "orbax-checkpoint", "equinox", "numpy")


def shown(line: str) -> str:
    """What the line raises as it stands, after the imports."""
    names: dict[str, Any] = {"optix_tricks": ot}
    exec(testing.IMPORTS, names)
    try:
        exec(line, names)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    finally:
        jax.config.update("jax_enable_x64", False)
    raise SystemExit(f"this line does not fail: {line}")


def main() -> None:
    subjects = []
    for room, rows in SUBJECTS.items():
        for factory, hyperparams in rows:
            # Newton-Schulz's iteration amplifies the roundings of what it starts from.
            roundings = {"float64_is_kept": 10.0} if "muon" in factory.__name__ else {}
            table = testing.check_transformation(
                factory, hyperparams=hyperparams, roundings=roundings
            )
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
