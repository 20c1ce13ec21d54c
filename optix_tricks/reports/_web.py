"""One HTML file that holds all it shows: styles, scripts and numbers; nothing is fetched.

The files in `assets/` are ours, but for uPlot's, whose licence lies beside it.
"""

import base64
import functools
import hashlib
import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "assets"


@functools.cache
def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return (ASSETS / name).read_text(encoding="utf-8").strip()


def document(
    title: str,
    body: Iterable[str],
    *,
    styles: Iterable[str] = ("page.css",),
    scripts: Iterable[str] = (),
    data: Any = None,
) -> str:
    """Return a whole page.

    The browser is told to load nothing and to run the scripts of these digests alone, so
    that no name in a run could ever become one.

    Args:
        title: Of the window, as it is.
        body: Parts of the page, escaped; empty ones are left out.
        styles: Files in `assets/`.
        scripts: Files in `assets/`, run in this order.
        data: What JSON can say, as an element `data` for the scripts.
    """
    codes = [asset(name) for name in scripts]
    allowed = " ".join(f"'sha256-{_digest(code)}'" for code in codes) or "'none'"
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src {allowed}"
    )
    numbers = []
    if data is not None:
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        text = text.replace("<", "\\u003c")
        numbers = [f'<script type="application/json" id="data">{text}</script>']
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            *(f"<style>{asset(name)}</style>" for name in styles),
            "</head><body>",
            *filter(None, body),
            *numbers,
            *(f"<script>{code}</script>" for code in codes),
            "</body></html>\n",
        ]
    )


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
