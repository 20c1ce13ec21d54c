"""Formulas: those of docstrings in Markdown's form, and those of a page in MathML.

Browsers draw MathML by themselves, so that a page needs no script for it and no network.
"""

import re
from html import unescape

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from math_core import LatexError, LatexToMathML
from mkdocs.exceptions import PluginError

FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.DOTALL
)
CONVERTER = LatexToMathML(fancy_error=False)


class FormulasOfDocstrings(Extension):
    """The role and the directive of reStructuredText, in Markdown."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Read them before anything else."""
        md.preprocessors.register(Roles(md), "formulas_of_docstrings", 175)


class Roles(Preprocessor):
    """As `pymdownx.arithmatex` takes formulas."""

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


def in_mathml(html: str, page: str) -> str:
    """Return a page whose formulas are MathML.

    Raises:
      PluginError: if one is none; names it and the page.
    """

    def converted(found: re.Match[str]) -> str:
        tag, latex = found[1], unescape(found[2]).strip()
        try:
            drawn = CONVERTER.convert_with_local_state(latex, displaystyle=tag == "div")
        except LatexError as error:
            raise PluginError(f"{page}: no formula: {latex!r}: {error}") from error
        return f'<{tag} class="formula">{drawn}</{tag}>'

    html = FORMULA.sub(converted, html)
    if "arithmatex" in html:
        raise PluginError(f"{page}: a formula has other delimiters than those known")
    return html
