"""What a trick is: from its definition and the docstring behind it."""

import inspect
import shlex
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from optix_tricks.tricks._docstring import Docstring, read
from optix_tricks.tricks._effects import measured_effects
from optix_tricks.tricks._setup import EXCLUSIVE, PLACES
from optix_tricks.tricks._trick import Trick

WORDS = {
    "images": "images",
    "vectors": "arrays of numbers",
    "tokens": "tokens, and a class at each",
    "classes": "one class an example",
    "distribution": "classes",
    "validation": "a validation split",
}


class Card(NamedTuple):
    """A trick in words.

    Attributes:
      line: what it does.
      on: how it is taken, in a shell and in Python.
      fills: slots of a setup.
      numbers: name, default and meaning of each.
      needs: of the network and the data.
      measured: what it did on the project's own testbed; empty if not measured.
      behind: the function whose docstring tells the rest.
      doc: that docstring.
    """

    line: str
    on: tuple[str, str]
    fills: str
    numbers: tuple[tuple[str, Any, str], ...]
    needs: str
    measured: str
    behind: Callable[..., Any]
    doc: Docstring


def summary(trick: Trick) -> str:
    """Return one line on what a trick does."""
    is_own = trick.make.__name__ == trick.name
    doc = inspect.getdoc(trick.make) if is_own else None
    return (doc or inspect.getdoc(_function(trick.about)) or "").split("\n", 1)[0]


def of_trick(trick: Trick) -> Card:
    """Return what there is to say of a trick."""
    behind = _function(trick.about)
    meanings = read(inspect.getdoc(_function(trick.calls)) or "\n").arguments
    numbers = tuple((name, x, meanings.get(name, "")) for name, x in trick.numbers)
    main = dict(trick.numbers).get(trick.main or "")
    name, value = trick.name, "" if main in ("", None) else main
    is_flag = isinstance(value, str | int | float) and value != ""
    on = (
        f"--with {shlex.quote(f'{name}={value}')}" if is_flag else f"--with {name}",
        f"tricks.{name}({value!r})" if value != "" else f"tricks.{name}",
    )
    slots = (
        f"{slot} ({EXCLUSIVE[slot]})" if slot in EXCLUSIVE else _place(trick, slot)
        for slot in trick.slots
    )
    of_network = [] if "network" in trick.slots else [trick.level.wanted]
    needs = [*of_network, *(WORDS[need] for need in trick.needs)]
    return Card(
        line=summary(trick),
        on=on,
        fills="; ".join(slots),
        numbers=numbers,
        needs="; ".join(needs),
        measured=str(measured_effects().get(trick.name, "")),
        behind=behind,
        doc=read(inspect.getdoc(behind) or "\n"),
    )


def card(trick: Trick) -> str:
    """Return what a trick fills, its numbers, its needs and the docstring behind it.

    >>> from optix_tricks.tricks import find_trick
    >>> print(card(find_trick("clip_global_norm")).splitlines()[3])
    numbers   max_norm=1.0  `c` > 0; infinity is the identity.
    """
    told = of_trick(trick)
    numbers = [f"{name}={x}  {meaning}".strip() for name, x, meaning in told.numbers]
    behind = f"{told.behind.__module__}.{getattr(told.behind, '__qualname__', '')}"
    rows = {
        "take": " or ".join(told.on),
        "fills": told.fills,
        "numbers": ("\n" + 10 * " ").join(numbers) or "none",
        "needs": told.needs,
        "measured": told.measured or "not yet",
        "from": behind,
    }
    head = [f"{name:9} {text}" for name, text in rows.items()]
    doc = inspect.getdoc(told.behind) or ""
    lines = [f"{trick.name}: {told.line}", *head, "", doc]
    return "\n".join(lines).replace(":math:", "")


def _function(calls: Callable[..., Any]) -> Callable[..., Any]:
    return calls.func if isinstance(calls, partial) else calls


def _place(trick: Trick, slot: str) -> str:
    return f"{slot}, at {trick.place}" if slot in PLACES else slot
