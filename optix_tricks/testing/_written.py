"""Factories and their arguments as a person writes them in Python."""

import functools
import sys
from collections.abc import Mapping
from typing import Any


def keywords(given: Mapping[str, Any]) -> list[str]:
    """Arguments as Python; text is code already.

    >>> keywords({"learning_rate": 0.1, "b1": "jnp.float32(0.9)"})
    ['learning_rate=0.1', 'b1=jnp.float32(0.9)']
    """
    return [f"{name}={x if isinstance(x, str) else repr(x)}" for name, x in given.items()]


def call(factory: Any, name: str | None, given: Mapping[str, Any]) -> str:
    """A call of the factory, `name` if that is not None.

    >>> import optax
    >>> call(functools.partial(optax.sgd, nesterov=True), None, {"learning_rate": 0.1})
    'optax.sgd(nesterov=True, learning_rate=0.1)'
    """
    called, arguments = _split(factory, name)
    return f"{called}({', '.join([*arguments, *keywords(given)])})"


def function(factory: Any, name: str | None) -> str:
    """The factory itself: `optax.adam`, or a partial of it."""
    called, arguments = _split(factory, name)
    if not arguments:
        return called
    return f"functools.partial({', '.join([called, *arguments])})"


def _split(factory: Any, name: str | None) -> tuple[str, list[str]]:
    """How a person reaches the function, and what is given to it beforehand."""
    if name is not None:
        return name, []
    if isinstance(factory, functools.partial):
        called, arguments = _split(factory.func, None)
        given = [*map(repr, factory.args), *keywords(factory.keywords)]
        return called, arguments + given
    name = getattr(factory, "__qualname__", None) or type(factory).__name__
    if "<lambda>" in name:
        return "factory", []
    name = name.rpartition(".")[2]
    parts = (getattr(factory, "__module__", None) or "__main__").split(".")
    if parts == ["__main__"]:
        return name, []
    # Where it is exported, rather than where it lies.
    for length in range(1, len(parts) + 1):
        module = ".".join(parts[:length])
        if getattr(sys.modules.get(module), name, None) is factory:
            return f"{module}.{name}", []
    return name, []
