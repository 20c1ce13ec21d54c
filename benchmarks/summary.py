"""A line for each result of an accelerator, short enough for the end of a log.

python -m benchmarks.summary [--platform gpu]
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any

from benchmarks.timing import RESULTS


def lines(result: dict[str, Any]) -> Iterator[str]:
    """Say what a file of results holds."""
    name = result["benchmark"]
    for row in result["rows"]:
        if name == "optimizer_step":
            yield (
                f"{row['arrays']} {row['optimiser']} {row['form']}: {row['ours_ms']:.2f} "
                f"ms, {row['ratio']:.2f} of Optax, "
                f"{row['copy_bandwidth_share']:.0%} of copying"
            )
        elif row.get("kind") == "run":
            error = row["accuracy_error"] or float("nan")
            yield (
                f"{row['recipe']} on {row['data']}, {row['mode']}: {row['mean_s']:.3f} s "
                f"(least {row['min_s']:.3f}), {row['accuracy']:.2%} +- {error:.2%}, "
                f"n = {row['runs']}; warm-up {row['warm_up_s']:.0f} s"
            )
        elif row.get("kind") == "step":
            yield (
                f"{row['recipe']} step: {row['ours_ms']:.2f} ms, {row['ratio']:.2f} of "
                "PyTorch's"
            )
        else:
            kept = (str, int, float)
            yield ", ".join(f"{k} {v}" for k, v in row.items() if isinstance(v, kept))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platform", default="gpu")
    for path in sorted(RESULTS.glob(f"*_{parser.parse_args().platform}.json")):
        result = json.loads(path.read_text())
        print(f"{result['benchmark']}, {result['device']}, jax {result['jax']}:")
        for line in lines(result):
            print(f"  {line[:150]}")


if __name__ == "__main__":
    main()
