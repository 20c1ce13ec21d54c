"""Write the tables into README.md and the pages on speed, diagnostics, the contract.

python -m benchmarks.readme_table
"""

import json
import re
import statistics
from pathlib import Path
from typing import Any

from benchmarks.contract_tables import CONTRACT_TABLES
from benchmarks.ledger import LEDGER_TABLES
from benchmarks.rates_by_network import RATE_TABLES
from benchmarks.reliability_tables import RELIABILITY_TABLES
from benchmarks.scaling_tables import SCALING_TABLES
from benchmarks.speed_tables import TABLES
from benchmarks.timing import RESULTS

WRITERS = {
    **TABLES,
    **CONTRACT_TABLES,
    **LEDGER_TABLES,
    **RATE_TABLES,
    **RELIABILITY_TABLES,
    **SCALING_TABLES,
}
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = (
    ROOT / "README.md",
    DOCS / "contract.md",
    DOCS / "diagnostics.md",
    DOCS / "ledger.md",
    DOCS / "reliability.md",
    DOCS / "scaling.md",
    DOCS / "speed.md",
    DOCS / "diagnostics" / "weight-norms.md",
)


def cost_table() -> str:
    """What diagnostics cost beside a training step, for every platform."""
    parts = []
    for path in sorted(RESULTS.glob("diagnostics_cost_*.json")):
        result = json.loads(path.read_text())
        rows = result["rows"]
        parts.append(
            f"{result['platform'].upper()} ({result['device']}), jax {result['jax']}, "
            f"{rows[0]['rounds']} rounds:\n"
        )
        for network in dict.fromkeys(row["network"] for row in rows):
            own = [row for row in rows if row["network"] == network]
            parts.append(
                f"\n{network}, {own[0]['step_ms']:.2f} ms a step:\n\n"
                "| diagnostic | one, ms | every step | every 16 | every 256 "
                "| at most 1.1 from every |\n|---|---|---|---|---|---|\n"
            )
            parts.extend(_cost_row(row) for row in own)
    return "".join(parts)


def _cost_row(row: dict[str, Any]) -> str:
    interval = f" [{row['low']:.2f}, {row['high']:.2f}]"
    if "ratio_16" in row:
        ratios = f"{row['ratio_1']:.2f} | {row['ratio_16']:.2f}{interval}"
        ratios += f" | {row['ratio_256']:.2f}"
    else:
        ratios = f"{row['ratio_1']:.2f}{interval} | |"
    least = row["at_most_1.1_from"] or "never"
    return f"| {row['diagnostic']} | {row['call_ms']:.2f} | {ratios} | {least} |\n"


def weight_norm_tables() -> dict[str, str]:
    """What Page's experiments came to: the law by layer, trainings, gradients, rates."""
    found: dict[str, Any] = {}
    for path in sorted(RESULTS.glob("weight_norm_*.json")):
        for row in json.loads(path.read_text())["rows"]:
            found |= {row["part"]: row["found"]}
    laws = found.get("schedules", {}) | found.get("constant", {})
    tables = {}
    for name in ("sgd", "momentum", "constant"):
        rows = "".join(_law_row(row) for row in laws.get(name, {"layers": []})["layers"])
        head = "| layer | measured | / predicted | / corrected | S | drift a step |"
        tables[f"law-{name}"] = f"{head}\n|---|---|---|---|---|---|\n{rows}"
    for name in ("lars", "batch"):
        rows = "".join(
            f"| {arm} | {_mean_and_error(row['test_accuracy'])} |\n"
            for arm, row in found.get(name, {}).items()
        )
        tables[name] = f"| training | test accuracy, % |\n|---|---|\n{rows}"
    if "gradients" in found:
        tables["gradients"] = _gradients(found["gradients"])
    if "rates" in found:
        tables["rates"] = _rates(found["rates"])
    return tables


def _law_row(row: dict[str, Any]) -> str:
    measured, name = row["measured"], row["layer"].removesuffix("/kernel")
    if not row["scale_invariant"]:
        cosine = row["weight_cosine"]
        return (
            f"| {name} | {measured:.5f} | not invariant: cos(g, w) {cosine:.3f} | | | |\n"
        )
    corrected, error = measured / row["corrected"], row["standard_error"]
    return (
        f"| {name} | {measured:.5f} | {measured / row['predicted']:.3f} | "
        f"{corrected:.3f} ± {error:.3f} | {row['autocorrelation']:+.3f} | "
        f"{row['drift']:+.1e} |\n"
    )


def _mean_and_error(shares: list[float]) -> str:
    error = statistics.stdev(shares) / len(shares) ** 0.5
    return f"{100 * statistics.mean(shares):.2f} ± {100 * error:.2f} ({len(shares)})"


def _gradients(found: dict[str, Any]) -> str:
    sizes, squares = found["batch_sizes"], found["square_norm"]
    norms = " | ".join(f"{x**0.5:.4f}" for x in squares)
    scaled = " | ".join(
        f"{(n * x / sizes[0] / squares[0]) ** 0.5:.2f}"
        for n, x in zip(sizes, squares, strict=True)
    )
    return (
        f"| batch n | {' | '.join(map(str, sizes))} |\n|---|{'---|' * len(sizes)}\n"
        f"| rms of \\|g\\| | {norms} |\n| times sqrt(n), first 1 | {scaled} |\n"
    )


def _rates(found: dict[str, Any]) -> str:
    rates = found["rates"]
    rows = [
        f"| {network} | "
        + " | ".join(f"{100 * statistics.mean(seeds):.1f}" for seeds in accuracies)
        + " |\n"
        for network, accuracies in found["networks"].items()
    ]
    head = " | ".join(f"{rate:g}" for rate in rates)
    return f"| network, rate | {head} |\n|---|{'---|' * len(rates)}\n{''.join(rows)}"


def filled(text: str) -> str:
    """The text with every marked table replaced."""
    weight_norm = weight_norm_tables()
    text = re.sub(
        r"(<!-- weight-norm: (\S+) -->\n).*?(<!-- /weight-norm -->)",
        lambda m: m[1] + weight_norm.get(m[2], "") + m[3],
        text,
        flags=re.DOTALL,
    )
    text = re.sub(
        r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)",
        lambda m: m[1] + WRITERS[m[2]]() + m[3],
        text,
        flags=re.DOTALL,
    )
    return re.sub(
        r"(<!-- diagnostics-cost -->\n).*?(<!-- /diagnostics-cost -->)",
        lambda m: m[1] + cost_table() + m[2],
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    for page in PAGES:
        if page.exists():
            page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
