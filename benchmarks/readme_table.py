"""Write the measured tables into README.md, from benchmarks/results/.

python -m benchmarks.readme_table
"""

import json
import re
from pathlib import Path

from benchmarks.timing import RESULTS

README = Path(__file__).parents[1] / "README.md"


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


def filled(text: str) -> str:
    """The text with every marked table replaced."""
    return re.sub(
        r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)",
        lambda m: m[1] + table(m[2]) + m[3],
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    README.write_text(filled(README.read_text()))


if __name__ == "__main__":
    main()
