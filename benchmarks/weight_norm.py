"""Does weight decay do on CIFAR-10 what Page's equations say?

Collects the parts of one or more runs of `optix-tricks diagnose weight-norm` and says of
each claim whether it holds:

    measured rate |g|/|w| over the prediction, 10 %; over the corrected one, 5 %
    SGD against LARS at the rate of SGD's equilibrium, from two starts
    gradients against the batch size, and training at four times the batch
    the best learning rate of several networks

    optix-tricks diagnose weight-norm --run-dir runs/wn --parts constant schedules
    python -m benchmarks.weight_norm runs/wn [RUN ...]
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.timing import save
from optix_tricks.studies._weight_norm import PARTS


def read(paths: list[Path]) -> list[dict[str, Any]]:
    """A row a part, with the settings that it was run with."""
    rows = []
    for path in paths:
        config = json.loads((path / "config.json").read_text())["config"]
        config.pop("data_dir")
        for part in PARTS:
            if (path / f"{part}.json").exists():
                found = json.loads((path / f"{part}.json").read_text())
                rows.append({"part": part, "config": config, "found": found})
    return rows


def say_law(name: str, found: dict[str, Any]) -> None:
    """The largest deviations of the layers that a norm follows."""
    layers = [row for row in found["layers"] if row["scale_invariant"]]
    for against in ("predicted", "corrected"):
        off = {row["layer"]: row["measured"] / row[against] - 1 for row in layers}
        worst = max(off, key=lambda layer: abs(off[layer]))
        within = sum(abs(x) <= 0.1 for x in off.values())
        print(
            f"{name}, steps {found['from_step']} to {found['to_step']}: measured over "
            f"{against} at most {off[worst]:+.1%} ({worst}); {within} of {len(off)} "
            "within 10 %"
        )


def say_trainings(part: str, found: dict[str, Any]) -> None:
    """Mean accuracies with their standard errors."""
    for arm, row in found.items():
        x = row["test_accuracy"]
        error = statistics.stdev(x) / len(x) ** 0.5 if len(x) > 1 else float("nan")
        print(f"{part}: {arm}: {statistics.mean(x):.2%} ± {error:.2%}, n = {len(x)}")


def say_rates(found: dict[str, Any]) -> None:
    """The best rate of each network."""
    for network, accuracies in found["networks"].items():
        means = [statistics.mean(seeds) for seeds in accuracies]
        best = max(range(len(means)), key=means.__getitem__)
        print(f"{network}: best {means[best]:.2%} at rate {found['rates'][best]:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    rows = read(parser.parse_args().runs)
    for row in rows:
        part, found = row["part"], row["found"]
        for name in ("sgd", "momentum", "constant"):
            if name in found:
                say_law(name, found[name])
        if part in ("lars", "batch"):
            say_trainings(part, found)
        if part == "gradients":
            print(f"gradients: noise scale {found['noise'] / found['signal']:,.0f}")
        if part == "rates":
            say_rates(found)
    print(f"wrote {save('weight_norm', rows)}")


if __name__ == "__main__":
    main()
