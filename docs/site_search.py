"""The search of the built site as in a browser: lunr's scores, the theme's order."""

import json
import re
from pathlib import Path
from typing import Any

from lunr.builder import Builder
from lunr.index import Index

FIELDS = ("title", "text", "tags")


class Search:
    """An index of the site, and what it finds."""

    def __init__(self, site: Path) -> None:
        index = json.loads((site / "search" / "search_index.json").read_text())
        self.separator = re.compile(index["config"]["separator"])
        self.entries = {entry["location"]: entry for entry in index["docs"]}
        self.index = self._built(index["config"]["fields"])

    def _built(self, fields: dict[str, dict[str, float]]) -> Index:
        builder = Builder()
        builder.b(0)
        builder.ref("location")
        for name in FIELDS:
            builder.field(name, boost=fields[name]["boost"], extractor=self._words(name))
        for entry in self.entries.values():
            builder.add(entry, {"boost": entry.get("boost", 1)})
        return builder.build()

    def _words(self, field: str) -> Any:
        """Return what takes the words of a field out of an entry."""

        def words(entry: dict[str, Any]) -> list[str]:
            value = entry.get(field, "")
            text = " ".join(value) if isinstance(value, list) else value
            return [x for x in self.separator.split(re.sub(r"<[^>]*>", " ", text)) if x]

        return words

    def pages(self, query: str) -> list[str]:
        """Return the places that are found, the best first, one of a page."""
        words = [word.lower() for word in self.separator.split(query) if word]
        found = self.index.search(" ".join(map(self._asked, query.split())))
        scored = sorted(found, key=lambda each: -self._score(each, words))
        best: dict[str, str] = {}
        for each in scored:
            best.setdefault(each["ref"].partition("#")[0], each["ref"])
        return list(best.values())

    def _asked(self, word: str) -> str:
        """Return what the theme asks: how words begin; before a hyphen, whole words."""
        *whole, last = word.split("-")
        begins = [f"{part}*" for part in self.separator.split(last) if part]
        return " ".join([*whole, *begins] * (len(whole) + 1))

    def _score(self, found: dict[str, Any], words: list[str]) -> float:
        """Return lunr's score, more of a page's head and where all words are found."""
        terms = found["match_data"].metadata
        told = [any(term.startswith(word) for term in terms) for word in words]
        share = sum(told) / len(told)
        return found["score"] * (1 + (("#" not in found["ref"]) + share) ** 2)
