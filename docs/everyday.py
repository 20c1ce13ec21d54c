"""The names of glossary.md as tags of the search, where each leads to first."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

GLOSSARY = Path(__file__).parent / "glossary.md"
OF_SECTIONS = 2.5  # the theme counts the head of a page 5 times, a section twice
LINE = re.compile(r"^- \*\*(.+?)\*\*(?:(?!^- ).)*?\]\(([^)\s]+)\)", re.M | re.S)


def everyday_names(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries of the search index, with the glossary's names for tags.

    A tag weighs more than a title, so that what people call a thing is found there first.

    Raises:
      PluginError: if a place of the glossary is none of the index.
    """
    names = names_of(GLOSSARY.read_text())
    missing = names.keys() - {entry["location"] for entry in entries}
    if missing:
        raise PluginError(f"glossary.md leads where nothing is: {sorted(missing)}")
    return [tagged(entry, names.get(entry["location"], [])) for entry in entries]


def tagged(entry: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return an entry with these names, if there are any."""
    if not names:
        return entry
    boost = OF_SECTIONS if "#" in entry["location"] else 1
    return entry | {"tags": names, "boost": boost}


def names_of(text: str) -> dict[str, list[str]]:
    """Return the names that lead to each place of the site.

    `- **Mixup, mixing**: pairs. [Card](cards/mixing.md#mixup)` has two for
    `cards/mixing.html#mixup`.
    """
    names = defaultdict(list)
    for line, place in LINE.findall(text):
        names[place.replace(".md", ".html")] += line.split(", ")
    return dict(names)
