"""What each trick buys, from a ledger that `optix-tricks ablate` has measured.

    optix-tricks ablate benchmarks/ledger_cifar10.py --add --tricks ... --run-dir DIR
    python -m benchmarks.ledger DIR ...

copies each ledger into benchmarks/results/ledgers under the name of its directory. From
the one that is called `cifar10` it writes what the cards and `optix-tricks tricks` show
into the package, and draws README's picture.
"""

import json
import math
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.ledger_claims import CLAIM_TABLES, LEDGERS
from benchmarks.speed_tables import table
from optix_tricks.reports import plot_effects
from optix_tricks.tricks import find_trick

MAIN = "cifar10"
FILES = ("ledger.jsonl", "ledger.json")
TESTBED = (
    "a ResNet-9 of width 8, {train:,} images of CIFAR-10 at 16 pixels, {epochs:g} epochs"
    " of batches of {batch_size}"
)
ROOT = Path(__file__).parents[1]
EFFECTS = ROOT / "optix_tricks" / "tricks" / "effects.json"
PICTURE = ROOT / "docs" / "images" / "ledger.png"
TELLING = 10  # rows of the picture


def summary(name: str = MAIN) -> dict[str, Any]:
    """A committed ledger."""
    return json.loads((LEDGERS / name / "ledger.json").read_text())


def testbed(found: dict[str, Any]) -> str:
    return TESTBED.format(
        train=found["examples"][0],
        epochs=found["epochs"],
        batch_size=found["batch_size"],
    )


def effects(found: dict[str, Any]) -> dict[str, Any]:
    """What the package keeps of it: rows that were added and have a number."""
    rows = [row for row in found["rows"] if row["added"] and _is_known(row)]
    return {
        "testbed": testbed(found),
        "effects": {_name(row): _kept(row) for row in rows},
    }


def _is_known(row: dict[str, Any]) -> bool:
    """Whether a look has given it an interval."""
    return bool(row["accuracy"] and row["accuracy"]["looked"])


def _name(row: dict[str, Any]) -> str:
    return row["name"].lstrip("+-")


def _taken(row: dict[str, Any]) -> str:
    """The trick as `--with` takes it: with its main number, where it has one."""
    name, main = _name(row), find_trick(_name(row)).main
    number = re.search(rf"\b{main}=([^,)]+)", row["trick"]) if main else None
    return f"{name}={number[1]}" if number else name


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    effect, cost = row["accuracy"], row["cost"]
    return {
        "taken": _taken(row),
        "points": round(100 * effect["mean_at_look"], 3),
        "half_width": round(100 * effect["half_width"], 3),
        "seeds": row["seeds"],
        "verdict": row["verdict"],
        "step": [round(x, 3) for x in _step(cost)] if cost else None,
    }


def _step(cost: dict[str, Any]) -> tuple[float, float, float]:
    """The ratio of step times and the ends of its 95 % interval."""
    ratio, spread = cost["step_ratio"], math.exp(cost["step_error"])
    return ratio, ratio / spread, ratio * spread


def telling(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows whose intervals are farthest from zero, half of either sign if so many."""

    def surely(row: dict[str, Any]) -> float:
        effect = row["accuracy"]
        return max(0.0, abs(effect["mean_at_look"]) - effect["half_width"])

    rows = [row for row in found["rows"] if _is_known(row)]
    ranked = sorted(rows, key=surely, reverse=True)
    up = [row for row in ranked if row["accuracy"]["mean_at_look"] > 0]
    down = [row for row in ranked if row["accuracy"]["mean_at_look"] <= 0]
    half = max(TELLING // 2, TELLING - len(down))
    return [*up[:half], *down[: TELLING - len(up[:half])]]


def effect_table(name: str = MAIN) -> str:
    """A row a trick, the best first; with costs where any were measured."""
    found = summary(name)
    missing = [f"`{_name(row)}`" for row in found["rows"] if not _is_known(row)]
    rows = sorted(
        filter(_is_known, found["rows"]),
        key=lambda row: row["accuracy"]["mean_at_look"],
        reverse=True,
    )
    costs = COSTS if any(row["cost"] for row in rows) else {}
    names = ["trick", "accuracy, points", "loss", *costs, "pairs", "verdict"]
    lines = []
    for row in rows:
        mark = "" if row["p_corrected"] > 0.05 else " *"
        numbers = [_interval(row["accuracy"], 100, 2), _interval(row["loss"], 1, 3)]
        numbers += [of(row["cost"]) if row["cost"] else "" for of in costs.values()]
        ends = [str(row["seeds"]), row["verdict"] + mark]
        lines.append([f"`{_taken(row)}`", *numbers, *ends])
    told = table(f"| {' | '.join(names)} |", lines)
    return told + f"\nNot measured yet: {', '.join(missing)}.\n" * bool(missing)


def _step_told(cost: dict[str, Any]) -> str:
    ratio, low, high = _step(cost)
    return f"{ratio:.2f} [{low:.2f}, {high:.2f}]"


def _memory_told(cost: dict[str, Any]) -> str:
    own, base = cost["memory"]
    return f"{own / base:.2f}"


COSTS = {"step": _step_told, "memory": _memory_told}


def _interval(effect: dict[str, Any], unit: int, digits: int) -> str:
    mean, half = unit * effect["mean_at_look"], unit * effect["half_width"]
    return f"{mean:+.{digits}f} ± {half:.{digits}f}"


LEDGER_TABLES = {
    "ledger": effect_table,
    "ledger_cifar10_recipe": lambda: effect_table("cifar10_recipe"),
    "ledger_digits": lambda: effect_table("digits"),
    **CLAIM_TABLES,
}


def main() -> None:
    for source in map(Path, sys.argv[1:]):
        target = LEDGERS / source.name
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(source / name, target / name)
    found = summary()
    EFFECTS.write_text(json.dumps(effects(found), indent=1) + "\n")
    figure = plot_effects(telling(found), measures=("accuracy",))
    figure.savefig(PICTURE, dpi=150)


if __name__ == "__main__":
    main()
