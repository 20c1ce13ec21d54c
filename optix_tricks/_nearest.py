"""The word that was meant."""

import difflib
from collections.abc import Iterable


def like(word: str, known: Iterable[str]) -> str:
    """Return the question whether another word was meant, or nothing.

    >>> like("mixpu", ["mixup", "cutmix"])
    " Did you mean 'mixup'?"
    """
    close = difflib.get_close_matches(word, list(known))
    return f" Did you mean {close[0]!r}?" if close else ""
