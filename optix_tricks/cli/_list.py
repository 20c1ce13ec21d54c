"""`optix-tricks list`."""

import ast
import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import optix_tricks
from optix_tricks.cli._options import parsed

RECIPES = Path(optix_tricks.__path__[0], "recipes")


@dataclasses.dataclass(frozen=True)
class ListOptions:
    """Nothing else."""

    debug: bool = False
    """show the traceback of an error"""


def list_recipes(arguments: list[str]) -> None:
    """List the recipes with what each claims, what it costs and where it comes from."""
    parsed(ListOptions, "list", list_recipes.__doc__, arguments)
    table = Table("recipe", "claim, cost and source", show_lines=True)
    table.columns[0].no_wrap = True
    for name, claim in claims().items():
        rest = f"[dim]cost: {claim['cost']}\nsource: {claim['source']}"
        table.add_row(f"[bold]{name}", f"{claim['result']}\n{rest}")
    Console().print(table)


def claims() -> dict[str, dict[str, str]]:
    """What each recipe claims, read from its text: importing all takes seconds."""
    registry = _assigned(RECIPES / "_registry.py")["RECIPES"]
    found = {}
    for name in (key.value for key in registry.keys):
        claim = _assigned(RECIPES / f"{name}.py")["CLAIM"]
        found[name] = {each.arg: ast.literal_eval(each.value) for each in claim.keywords}
    return found


def _assigned(file: Path) -> dict[str, Any]:
    """The expressions that a module gives names, by these."""
    found = {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            found[ast.unparse(target)] = node.value
    return found
