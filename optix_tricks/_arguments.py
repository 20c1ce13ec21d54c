"""What a public function is given is checked against its annotations, at its entry.

Each room ends with `check_arguments(__name__)`, and from then on its public functions and
classes refuse an argument of a wrong kind in one sentence that names it. A check is a few
comparisons of types, made when
a function is called or traced, never when a compiled program runs.
"""

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from optix_tricks._kinds import Kind, kind_of


def check_arguments(room: str, called: Mapping[str, str] | None = None) -> None:
    """Have the public functions and classes of a room check what they are given.

    Of a class its constructor and its `__call__` do. Values of plain fields are left
    alone where a tree may be rebuilt of anything: named tuples, and dataclasses.

    Args:
      room: the name of a module that has `__all__`.
      called: what this room calls the arguments of the functions that it calls, by their
        names there, so that their errors name its own.
    """
    module = sys.modules[room]
    made: dict[Callable[..., Any], Callable[..., Any]] = {}  # one for all its names
    for name in module.__all__:
        found = vars(module)[name]
        home = getattr(found, "__module__", "")
        if not home.startswith(room) or hasattr(found, "__checked__"):
            continue
        if inspect.isfunction(found):
            checked = made.setdefault(found, checking(found, called))
            setattr(module, name, checked)
            if vars(sys.modules[home]).get(name) is found:
                setattr(sys.modules[home], name, checked)  # pickle looks there
        elif inspect.isclass(found) and not hasattr(found, "__dataclass_fields__"):
            for method in ("__init__", "__call__"):
                if inspect.isfunction(vars(found).get(method)):
                    setattr(found, method, checking(vars(found)[method], called))


def checking(
    function: Callable[..., Any], called: Mapping[str, str] | None = None
) -> Callable[..., Any]:
    """Return the function, its arguments compared with its annotations before it runs.

    >>> @checking
    ... def drop(rate: float, deterministic: bool = False):
    ...     return rate
    >>> drop(0.5)
    0.5
    >>> drop(0.5, deterministic=0)
    Traceback (most recent call last):
    TypeError: deterministic must be True or False, got 0.
    >>> drop([0.5])
    Traceback (most recent call last):
    TypeError: rate must be a number, got a list.
    """

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        by_place, by_name = kinds()
        for (name, kind), value in zip(by_place, args, strict=False):
            if kind is not None and kind.refuses(value):
                raise kind.refusal(name, value)
        for name, value in kwargs.items():
            kind = by_name.get(name)
            if kind is not None and kind.refuses(value):
                raise kind.refusal(name, value)
        if called is None:
            return function(*args, **kwargs)
        with _renaming(called, by_name):
            result = function(*args, **kwargs)
        if not hasattr(result, "_replace") or not hasattr(result, "init"):
            return result

        @functools.wraps(result.init)  # which reads schedules for the first time
        def init(*args: Any, **kwargs: Any) -> Any:
            with _renaming(called, by_name):
                return result.init(*args, **kwargs)

        return result._replace(init=init)

    @functools.cache
    def kinds() -> tuple[list[tuple[str, Kind | None]], Mapping[str, Kind | None]]:
        free = inspect.signature(function).parameters.values()
        named = {p.name: kind_of(p.annotation) for p in free if p.kind in NAMED}
        places = [(p.name, named[p.name]) for p in free if p.kind in PLACED]
        return places, named

    checked.__checked__ = True  # type: ignore[attr-defined]
    return checked


@contextlib.contextmanager
def _renaming(called: Mapping[str, str], own: Mapping[str, Any]) -> Iterator[None]:
    """Have an error that begins with the name of an argument begin with `own`'s."""
    try:
        yield
    except (TypeError, ValueError) as error:
        name, must, rest = str(error).partition(" must ")
        alternatives = [] if name in own else called.get(name, "").split()
        for alternative in alternatives:
            if alternative.partition("[")[0] in own:
                raise type(error)(f"{alternative}{must}{rest}") from error
        raise


PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
NAMED = (*PLACED, inspect.Parameter.KEYWORD_ONLY)
