"""The contract of losses: a call that asks its columns, and a test."""

from collections.abc import Callable
from typing import Any

import numpy as np

from optix_tricks.testing._check import Column, Columns, check, select
from optix_tricks.testing._columns_loss import COLUMNS
from optix_tricks.testing._loss_subject import LossSubject
from optix_tricks.testing._pytest import test_of
from optix_tricks.testing._table import Table

LOSS_COLUMNS: dict[str, Column] = {column.__name__: column for column in COLUMNS}


def check_loss(
    loss: Callable[..., Any],
    make: Callable[[np.random.Generator], tuple],
    *,
    columns: Columns = None,
    **about: Any,
) -> Table:
    """Ask a loss, anybody's, what a loss is asked here.

    Args:
      loss: takes what `make` returns, such as logits and labels, and returns an array.
      make: makes arguments from a NumPy generator.
      columns: names out of `LOSS_COLUMNS`, or functions of a `LossSubject` of your own;
        by default all that there are.
      **about: `shape`, `differentiable`, `scores`, `rtol` and `name`, as `LossSubject`
        takes them.

    Returns:
      A row for each column: pass, fail with the error and one line of Python that asks it
      again, or not applicable with the reason. A loss that fails raises nothing.

    Helps before a loss of your own trains anything in 16 bits or on many devices. Hurts
    nothing. Cost: a second or two, nearly all of compiling.

    Raises:
      ValueError: if a column is unknown; the nearest is named.
      TypeError: if `loss` or `make` is no function.

    >>> def make(rng):
    ...     return rng.normal(size=(8, 5)), rng.integers(0, 5, 8)
    >>> import optax
    >>> loss = optax.softmax_cross_entropy_with_integer_labels
    >>> table = check_loss(loss, make, columns="bfloat16_is_computed_in_float32")
    >>> table.failures[0].reason
    'bfloat16 is not float32'
    """
    return check(LossSubject(loss, make, **about), select(columns, LOSS_COLUMNS))


def loss_test(
    loss: Callable[..., Any],
    make: Callable[[np.random.Generator], tuple],
    *,
    columns: Columns = None,
    **about: Any,
) -> Callable[..., None]:
    """Return a test for pytest, parametrised by column, of a loss.

    Args:
      loss: as in `check_loss`, as are the rest.
      make: makes arguments from a NumPy generator.
      columns: names or functions.
      **about: what else there is to say.

    >>> import optax
    >>> test_mine = loss_test(optax.l2_loss, lambda rng: (rng.normal(size=8),))
    """
    return test_of(LossSubject(loss, make, **about), select(columns, LOSS_COLUMNS))
