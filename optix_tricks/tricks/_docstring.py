"""The parts of a docstring that a card shows."""

import re
from typing import NamedTuple

MARKS = (
    "Helps",
    "Does little",
    "Does nothing",
    "Hurts",
    "Cost",
    "Beside others",
    "Source",
)
# Each begins a sentence; the first four may also go on after a semicolon.
MARK = re.compile(
    r"(?:^|(?<=[.;] )|(?<=\.\) ))"
    r"(?:(Helps|Does little|Does nothing|Hurts)\b|(Cost|Beside others|Source): )"
    r"|(?<=; )(helps|does little|does nothing|hurts)\b"
)
SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Examples|References):")
ARGUMENT = re.compile(r"\*{0,2}(\w+): (.*)")
OF_A_LINK = re.compile(r"(?:A transformation|An optimiser)[^;.]*; ")


class Docstring(NamedTuple):
    """What a docstring says, part by part.

    Attributes:
      line: the first.
      equations: its indented blocks and those of math, as they stand, each with the
        sentence that goes on below it.
      told: by mark, the sentences from one that begins with it up to the next mark.
      arguments: what each is.
    """

    line: str
    equations: tuple[str, ...]
    told: dict[str, str]
    arguments: dict[str, str]

    @property
    def has_equation(self) -> bool:
        """Whether there is one, in a block or in the first line."""
        return bool(self.equations) or ":math:" in self.line


def read(doc: str) -> Docstring:
    r"""Read a docstring in which indentation is already cleaned.

    >>> read("Shrink. Much.\n\n    u = g / 2\n\nHelps here; hurts there.").told
    {'Helps': 'Helps here.', 'Hurts': 'Hurts there.'}
    """
    prose, sections = _sections(doc)
    line, *paragraphs = [each for each in re.split(r"\n\s*\n", prose) if each.strip()]
    equations: list[str] = []
    told: dict[str, str] = {}
    goes_on = False
    for paragraph in paragraphs:
        if paragraph.startswith(("    ", ".. math::")):
            equations.append(paragraph)
            goes_on = True
            continue
        rest, marked = _marked(" ".join(paragraph.split()))
        if goes_on and rest[:1].islower():
            equations.append(re.split(r"(?<=\.) ", rest)[0])
        for mark, text in marked:
            told[mark] = f"{told[mark]} {text}" if mark in told else text
        goes_on = False
    of_link = OF_A_LINK.match(" ".join(sections["Returns"].split()))
    if of_link and "Cost" not in told:
        told["Cost"] = of_link.string[of_link.end() :]
    if sections["References"].strip():
        told["Source"] = " ".join(sections["References"].split())
    return Docstring(
        " ".join(line.split()), tuple(equations), told, _arguments(sections["Args"])
    )


def _sections(doc: str) -> tuple[str, dict[str, str]]:
    """Part the prose from what stands indented below the name of a section."""
    names = ("Args", "Attributes", "Returns", "Raises", "Examples", "References")
    texts: dict[str, list[str]] = {name: [] for name in ("", *names)}
    now = ""
    for line in doc.splitlines():
        header = SECTION.fullmatch(line)
        if header:
            now = header[1]
            continue
        if line and not line.startswith(" "):
            now = ""
        texts[now].append(line)
    prose, *rest = ("\n".join(lines) for lines in texts.values())
    return prose, dict(zip(names, rest, strict=True))


def _marked(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Cut a paragraph at its marks: what is before the first, and each with its text."""
    found = [*MARK.finditer(text)]
    pieces = []
    for each, end in zip(found, [*(x.start() for x in found[1:]), None], strict=False):
        starts = each.start() if each[2] is None else each.end()
        own = text[starts:end].strip()
        own = own[:-1] + "." if own.endswith(";") else own
        mark = (each[1] or each[2] or each[3]).capitalize()
        pieces.append((mark, own[0].upper() + own[1:] if each[3] else own))
    return text[: found[0].start() if found else None].strip(), pieces


def _arguments(section: str) -> dict[str, str]:
    """Read `name: text`, the text going on in lines that are indented further."""
    found: dict[str, str] = {}
    name = ""
    indent = re.match(r"\s*", section)[0].replace("\n", "")  # type: ignore[index]
    for line in section.splitlines():
        argument = ARGUMENT.fullmatch(line.removeprefix(indent))
        if argument:
            name, found[argument[1]] = argument[1], argument[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found
