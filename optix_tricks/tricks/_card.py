"""What a trick is, as text: from its definition and the docstring behind it."""

import inspect

from optix_tricks.tricks._setup import EXCLUSIVE, PLACES
from optix_tricks.tricks._trick import Trick

WORDS = {"images": "images", "classes": "one class an example", "distribution": "classes"}


def summary(trick: Trick) -> str:
    """Return one line on what a trick does."""
    is_own = trick.make.__name__ == trick.name
    doc = inspect.getdoc(trick.make if is_own else trick.calls) or ""
    return doc.splitlines()[0] if doc else ""


def card(trick: Trick) -> str:
    """Return what a trick fills, its numbers, its needs and the docstring behind it.

    >>> from optix_tricks.tricks import find_trick
    >>> print(card(find_trick("clip_global_norm")).splitlines()[2])
    numbers   max_norm=1.0
    """
    own = dict(trick.numbers)
    numbers = ", ".join(f"{name}={x}" for name, x in own.items()) or "none"
    slots = ", ".join(
        f"{slot} ({EXCLUSIVE[slot]})" if slot in EXCLUSIVE else _place(trick, slot)
        for slot in trick.slots
    )
    needs = [trick.level.wanted, *(WORDS[need] for need in trick.needs)]
    behind = f"{trick.calls.__module__}.{getattr(trick.calls, '__qualname__', '')}"
    rows = {
        "fills": slots,
        "numbers": numbers,
        "needs": "; ".join(needs),
        "calls": behind,
    }
    head = [f"{name:9} {text}" for name, text in rows.items()]
    doc = inspect.getdoc(trick.calls) or ""
    return "\n".join([f"{trick.name}: {summary(trick)}", *head, "", doc])


def _place(trick: Trick, slot: str) -> str:
    return f"{slot}, at {trick.place}" if slot in PLACES else slot
