"""Writes the page of a learning-rate range test."""

import base64
from html import escape
from pathlib import Path

import numpy as np

from optix_tricks._files import replace_file
from optix_tricks.dynamics import RangeTest, RateSuggestion, RateSuggestions
from optix_tricks.reports._page import png
from optix_tricks.reports._range_test import LABELS, plot_range_test
from optix_tricks.reports._web import document

RULES = {
    "steepest": "where the smoothed loss falls fastest",
    "minimum_tenth": "a tenth of where it is least",
    "valley": "the middle of its longest fall",
}


def write_range_page(
    path: Path, test: RangeTest, suggestions: RateSuggestions, *, title: str, said: str
) -> Path:
    """Write `report.html`: what to take, the curve, the three rules.

    Args:
      path: the directory.
      test: the curve.
      suggestions: of the curve.
      title: of the page.
      said: which to take, and why.

    Returns:
      The path of the page.
    """
    light, dark = (
        base64.b64encode(png(plot_range_test(test, suggestions, dark=is_dark))).decode()
        for is_dark in (False, True)
    )
    rows = "".join(
        f"<tr><td>{LABELS[rule]}</td><td>{_rate(found)}</td><td>{_within(found)}</td>"
        f"<td>{RULES[rule]}</td></tr>"
        for rule, found in suggestions._asdict().items()
    )
    heads = "".join(
        f"<th>{x}</th>" for x in ("rule", "rate", "within a factor of", "what it is")
    )
    seeds, steps = np.shape(test.losses)
    parts = [
        f"<h1>Which learning rate? <small>{escape(title)}</small></h1>",
        f'<p class="unfinished">{escape(said)}</p>',
        '<figure><picture><source media="(prefers-color-scheme: dark)"',
        f'srcset="data:image/png;base64,{dark}"><img alt="Loss by learning rate"',
        f'src="data:image/png;base64,{light}"></picture></figure>',
        f"<p>{steps} steps of {seeds} seed{'s' * (seeds != 1)}, the rate rising from"
        f" {test.rates[0]:g} to {test.rates[-1]:g}. The line is the mean of the smoothed"
        " losses, the band its standard error; dots are single steps.</p>",
        f'<div class="scroll"><table><tr>{heads}</tr>{rows}</table></div>',
    ]
    page = path / "report.html"
    content = document(f"Learning rates: {title}", parts, styles=("page.css",))
    replace_file(page, content.encode())
    return page


def _rate(found: RateSuggestion) -> str:
    return "undecided" if found.reason else f"{found.rate:.2g}"


def _within(found: RateSuggestion) -> str:
    if found.reason:
        return escape(found.reason)
    error = found.standard_error
    return f"{10**error:.2f}" if np.isfinite(error) else "one seed"
