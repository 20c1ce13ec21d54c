"""The cards of the tricks in Markdown, a page a family; nothing of it is kept."""

import re
from collections.abc import Container
from pathlib import Path
from typing import Any

from optix_tricks.tricks import Trick
from optix_tricks.tricks._card import of_trick
from optix_tricks.tricks._docstring import MARKS
from optix_tricks.tricks._registry import FAMILIES, of_family

API = Path(__file__).parent / "api"
ENTRY = re.compile(r"^::: (\S+)$", re.MULTILINE)


class Links:
    """From names in backticks to cards, or to the entries of the reference."""

    def __init__(self) -> None:
        self.entries = {
            entry: f"../api/{page.stem}.md#{entry}"
            for page in sorted(API.glob("*.md"))
            for entry in ENTRY.findall(page.read_text())
        }
        rooms = ("augment", "initializers", "layers", "losses", "schedules", "training")
        prefixes = ("optix_tricks", *(f"optix_tricks.{room}" for room in rooms))
        names = [entry.rpartition(".") for entry in self.entries]
        self.of_name = {
            name: self.entries[f"{room}.{name}"]
            for room, _, name in names
            if room in prefixes
        } | {
            name: f"{family}.md#{name}"
            for family, module in FAMILIES.items()
            for name in of_family(module)
        }

    def to(self, function: Any) -> str | None:
        """Return the link to a function's entry, if it has one."""
        room, name = function.__module__.split(".")[1], function.__name__
        for entry in (f"optix_tricks.{room}.{name}", f"optix_tricks.{name}"):
            if entry in self.entries:
                return f"[`{entry}`]({self.entries[entry]})"
        return None

    def within(self, text: str, own: Container[str]) -> str:
        """Link the names of a text that stand elsewhere."""

        def linked(found: re.Match[str]) -> str:
            name = found[1].rpartition(".")[2]
            is_there = name in self.of_name and name not in own
            return f"[{found[0]}]({self.of_name[name]})" if is_there else found[0]

        return re.sub(r"(?<!:math:)`([\w.]+)`", linked, text)


def page_of(family: str, links: Links) -> str:
    """Return the page of a family's cards."""
    module = FAMILIES[family]
    intro = (module.__doc__ or "").partition("\n\n")[0]
    cards = [markdown_of(trick, links) for trick in of_family(module).values()]
    return "\n\n".join([f"# {family.capitalize()}", intro, *cards])


def markdown_of(trick: Trick, links: Links) -> str:
    """Return a card: what its function's docstring says, and how it is taken."""
    told = of_trick(trick)
    own = {trick.name, told.behind.__name__, *told.doc.arguments}
    equations = [
        fenced(x) if x.startswith(" ") else links.within(x, own)
        for x in told.doc.equations
    ]
    taken = " or ".join(f"`{each}`" for each in told.on)
    rows = [f"- **Take** {taken}", f"- **Fills** {told.fills}"]
    rows += [f"- **Needs** {told.needs}"] if told.needs else []
    rows += [f"- **Measured** {told.measured}"] if told.measured else []
    rows += ["- **Numbers**"] if told.numbers else []
    for name, value, meaning in told.numbers:
        text = links.within(meaning, own)
        rows.append(f"    - `{name}={value!r}`" + f": {text}" * bool(text))
    for mark in MARKS:
        text = links.within(told.doc.told.get(mark, ""), own).removeprefix(mark).strip()
        rows += [f"- **{mark}** {text}"] if text else []
    entry = links.to(told.behind)
    rows += [f"- **Reference** {entry}"] if entry else []
    line = links.within(told.line, own)
    return "\n\n".join([f"## `{trick.name}`", line, *equations, "\n".join(rows)])


def fenced(equation: str) -> str:
    """Return a block of text as it stands."""
    lines = [line.removeprefix("    ") for line in equation.splitlines()]
    return "\n".join(["```text", *lines, "```"])
