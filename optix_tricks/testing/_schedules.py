"""The contract of schedules: a call that asks its columns, and a test."""

from collections.abc import Callable
from typing import Any

from optix_tricks.testing._check import Column, Columns, check, select
from optix_tricks.testing._columns_schedule import COLUMNS
from optix_tricks.testing._pytest import test_of
from optix_tricks.testing._schedule_subject import ScheduleSubject
from optix_tricks.testing._table import Table

SCHEDULE_COLUMNS: dict[str, Column] = {column.__name__: column for column in COLUMNS}


def check_schedule(
    factory: Callable[..., Any], *, columns: Columns = None, **about: Any
) -> Table:
    """Ask a schedule, anybody's, what a schedule is asked here.

    Args:
      factory: makes the schedule; it takes each of `hyperparams` by name.
      columns: names out of `SCHEDULE_COLUMNS`, or functions of a `ScheduleSubject` of
        your own; by default all that there are.
      **about: `hyperparams`, `ends`, `reference`, `tolerance` and `name`, as
        `ScheduleSubject` takes them.

    Returns:
      A row for each column: pass, fail with the error and one line of Python that asks it
      again, or not applicable with the reason.

    Helps with counts beyond 2^24, where float32 skips whole numbers. Hurts nothing.
    Cost: about a second, nearly all of compiling.

    Raises:
      ValueError: if a column is unknown; the nearest is named.
      TypeError: if `factory` is no function.

    >>> from optix_tricks import schedules
    >>> table = check_schedule(
    ...     schedules.constant_schedule,
    ...     hyperparams={"value": 0.3},
    ...     columns=["float64_is_kept", "the_ends_of_32_bits_are_the_reference"],
    ... )
    >>> print(*(row.outcome for row in table.rows), sep=", ")
    pass, not applicable
    """
    return check(ScheduleSubject(factory, **about), select(columns, SCHEDULE_COLUMNS))


def schedule_test(
    factory: Callable[..., Any], *, columns: Columns = None, **about: Any
) -> Callable[..., None]:
    """Return a test for pytest, parametrised by column, of a schedule.

    Args:
      factory: as in `check_schedule`, as are the rest.
      columns: names or functions.
      **about: numbers and what else there is to say.

    >>> import optax
    >>> test_mine = schedule_test(optax.constant_schedule, hyperparams={"value": 0.3})
    """
    chosen = select(columns, SCHEDULE_COLUMNS)
    return test_of(ScheduleSubject(factory, **about), chosen)
