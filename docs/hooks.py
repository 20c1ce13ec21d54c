"""What mkdocs makes of this site beyond its pages: the cards of the tricks, and math."""

import re

from cards import Links, page_of
from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from optix_tricks.tricks._registry import FAMILIES


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let Markdown read the math of docstrings."""
    config.markdown_extensions.append(MathOfDocstrings())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page of cards for each family of tricks."""
    links = Links()
    for family in FAMILIES:
        page = f"cards/{family}.md"
        files.append(File.generated(config, page, content=page_of(family, links)))
    return files


class MathOfDocstrings(Extension):
    """The role and the directive of reStructuredText, in Markdown."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Read them before anything else."""
        md.preprocessors.register(Roles(md), "math_of_docstrings", 175)


class Roles(Preprocessor):
    """As `pymdownx.arithmatex` takes math."""

    def run(self, lines: list[str]) -> list[str]:
        """Put delimiters in the place of role and directive."""
        text = "\n".join(lines)
        text = re.sub(r":math:`([^`]+)`", r"\\(\1\\)", text)
        block = re.compile(r"^( *)\.\. math::((?:.*\n?)(?:\1 +\S.*\n?)*)", re.MULTILINE)
        return block.sub(displayed, text).split("\n")


def displayed(block: re.Match[str]) -> str:
    """Return a block of math; with marks of alignment, aligned."""
    formula = " ".join(block[2].split())
    if "&" in formula and "\\begin" not in formula:
        formula = rf"\begin{{aligned}} {formula} \end{{aligned}}"
    return f"{block[1]}\\[{formula}\\]\n"
