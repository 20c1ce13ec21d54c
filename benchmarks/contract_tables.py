"""Tables of docs/contract.md: the columns, and what results/contract.json found."""

import inspect
import json
from typing import Any

from benchmarks.timing import RESULTS
from optix_tricks.testing import TRANSFORMATION_COLUMNS

OUTCOMES = {"pass": "✓", "fail": "**fail**", "not applicable": "–"}


def contract_columns() -> str:
    """Each column and its sentence."""
    lines = [
        f"| `{name}` | {inspect.getdoc(column).partition(chr(10) * 2)[0]} |"
        for name, column in TRANSFORMATION_COLUMNS.items()
    ]
    text = "\n".join(" ".join(line.split()) for line in lines)
    return f"| column | what must hold |\n|---|---|\n{text}\n"


def contract_versions() -> str:
    """What it was run with."""
    found = json.loads((RESULTS / "contract.json").read_text())
    names = ("jax", "optax", "flax", "orbax-checkpoint", "equinox")
    return ", ".join(f"{name} {found[name]}" for name in names) + ".\n"


def contract_optax() -> str:
    """Optax's own, one column a line, one optimiser a column."""
    return _found("optax")


def contract_ours() -> str:
    """Ours of the same names."""
    return _found("optix_tricks")


def contract_failures() -> str:
    """Every failure with its error and the line that shows it."""
    parts = []
    for subject in _subjects("optax") + _subjects("optix_tricks"):
        failed = [row for row in subject["rows"] if row["outcome"] == "fail"]
        if failed:
            parts.append(f"`{subject['subject']}`\n")
        for row in failed:
            parts.append(f"- `{row['column']}`: {_escaped(row['reason'])}\n")
            parts.append(f"  ```text\n  {row['reproduction']}\n  ```\n")
    return "\n".join(parts)


def _escaped(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`"


def _subjects(room: str) -> list[dict[str, Any]]:
    found = json.loads((RESULTS / "contract.json").read_text())
    return [subject for subject in found["subjects"] if subject["room"] == room]


def _found(room: str) -> str:
    subjects = _subjects(room)
    names = [s["subject"].partition("(")[0].rpartition(".")[2] for s in subjects]
    head = f"| column | {' | '.join(names)} |\n|---|{'---|' * len(names)}\n"
    rows = [
        f"| {same[0]['column']} | {' | '.join(OUTCOMES[x['outcome']] for x in same)} |"
        for same in zip(*(subject["rows"] for subject in subjects), strict=True)
        if any(row["outcome"] != "not applicable" for row in same)
    ]
    return head + "\n".join(rows) + "\n"


CONTRACT_TABLES = {
    function.__name__: function
    for function in (
        contract_columns,
        contract_versions,
        contract_optax,
        contract_ours,
        contract_failures,
    )
}
