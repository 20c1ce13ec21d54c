"""The runner: a subject, columns, and a table of what each found.

A column is a function of a subject with a sentence for a docstring. It returns nothing if
the property holds, raises if it does not, and raises `NotApplicable` where it cannot be
asked. What a subject is, the columns know; the runner wants its name and a line of Python
that shows a failure.
"""

import contextlib
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from optix_tricks.testing._table import FAIL, NOT_APPLICABLE, PASS, Row, Table, one_line

Column = Callable[[Any], None]
Columns = str | Column | Iterable[str | Column] | None  # of all for None


class NotApplicable(Exception):
    """Raised by a column that cannot be asked of a subject; its text is the reason."""


@runtime_checkable
class Subject(Protocol):
    """What a contract is about."""

    @property
    def name(self) -> str:
        """How it is made, as Python: `optax.adam(learning_rate=0.1)`."""

    def reproduction(self, column: str, code: str | None) -> str:
        """One line of Python that shows a failure.

        Args:
          column: the name of the column that failed.
          code: what its `showing` says, None where it failed outside of one.
        """


@contextlib.contextmanager
def showing(code: str) -> Iterator[None]:
    """Say of whatever fails in the block by which code a person sees it fail.

    >>> try:
    ...     with showing("1 / 0"):
    ...         1 / 0
    ... except ZeroDivisionError as error:
    ...     print(error.shown_by)
    1 / 0
    """
    try:
        yield
    except NotApplicable:
        raise
    except Exception as error:
        if not hasattr(error, "shown_by"):
            error.shown_by = in_one_line(code)  # type: ignore[attr-defined]
        raise


def in_one_line(code: str) -> str:
    r"""The same statements in one line.

    >>> in_one_line("a = f( \n 1); b = a")
    'a = f(1); b = a'
    """
    joined = " ".join(code.split())
    return re.sub(r"(?<=[(\[{]) | (?=[)\]}])", "", joined)


def check_column(subject: Subject, column: Column) -> Row:
    """Ask one column and catch whatever it raises."""
    name = column.__name__
    try:
        column(subject)
    except NotApplicable as reason:
        return Row(name, NOT_APPLICABLE, str(reason))
    except Exception as error:
        line = subject.reproduction(name, getattr(error, "shown_by", None))
        return Row(name, FAIL, one_line(error), line, error)
    return Row(name, PASS)


def check(subject: Subject, columns: Iterable[Column]) -> Table:
    """Ask every column. Never raises for what a column finds."""
    return Table(subject.name, tuple(check_column(subject, c) for c in columns))


def assert_column(subject: Subject, column: Column) -> str | None:
    """Raise with the reproduction if a column fails.

    Returns:
      Why the column is not applicable; None if it passes.

    Raises:
      AssertionError: the reason and the reproduction, from what the column raised.
    """
    row = check_column(subject, column)
    if row.outcome == FAIL:
        raise AssertionError(f"{row.reason}\n>>> {row.reproduction}") from row.error
    return row.reason if row.outcome == NOT_APPLICABLE else None


def select(columns: Columns, known: Mapping[str, Column]) -> tuple[Column, ...]:
    """Return the columns by name or as given, all known ones for None.

    >>> select("jitt", {"jit": print, "pmap": print})
    Traceback (most recent call last):
    ValueError: columns must be known names or functions, got 'jitt'; do you mean 'jit'?

    Raises:
      ValueError: if a name is unknown; the nearest is named.
      TypeError: if something is neither a name nor a function.
    """
    if columns is None:
        return tuple(known.values())
    if isinstance(columns, str) or callable(columns):
        columns = (columns,)
    return tuple(_column(column, known) for column in columns)


def _column(column: Any, known: Mapping[str, Column]) -> Column:
    if callable(column):
        return column
    if not isinstance(column, str):
        raise TypeError(f"columns must be known names or functions, got {column!r}.")
    if column not in known:
        near = difflib.get_close_matches(column, known, n=1, cutoff=0.0)
        raise ValueError(
            f"columns must be known names or functions, got {column!r}; do you mean "
            f"{near[0]!r}?"
        )
    return known[column]
