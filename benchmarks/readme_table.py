"""Write the measured tables into README.md and docs/diagnostics.md.

python -m benchmarks.readme_table
"""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.timing import RESULTS

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "diagnostics.md")


def table(name: str) -> str:
    """The table of one benchmark, for every platform it was run on."""
    parts = []
    for path in sorted(RESULTS.glob(f"{name}_*.json")):
        result = json.loads(path.read_text())
        parts.append(
            f"{result['platform'].upper()} ({result['device']}), jax {result['jax']}, "
            f"{result['rows'][0]['rounds']} rounds:\n\n"
            "| arrays | optimiser | Optax, ms | tree, ms | ratio | packed, ms | ratio |\n"
            "|---|---|---|---|---|---|---|\n"
        )
        rows = {(r["arrays"], r["optimiser"], r["form"]): r for r in result["rows"]}
        for arrays, optimiser in dict.fromkeys((a, o) for a, o, _ in rows):
            tree, packed = (rows[arrays, optimiser, f] for f in ("tree", "packed"))
            cells = [
                f"{r['ours_ms']:.2f} | {r['ratio']:.2f} "
                f"[{r['ratio_low']:.2f}, {r['ratio_high']:.2f}]"
                for r in (tree, packed)
            ]
            parts.append(
                f"| {arrays} | {optimiser} | {tree['theirs_ms']:.2f} | "
                f"{' | '.join(cells)} |\n"
            )
    return "".join(parts)


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


def filled(text: str) -> str:
    """The text with every marked table replaced."""
    text = re.sub(
        r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)",
        lambda m: m[1] + table(m[2]) + m[3],
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
