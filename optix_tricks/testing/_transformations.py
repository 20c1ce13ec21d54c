"""The contract of gradient transformations: its columns, and a call that asks them."""

from collections.abc import Callable
from typing import Any

from optix_tricks.testing import (
    _columns_composition,
    _columns_gradients,
    _columns_hyperparams,
    _columns_invariances,
    _columns_leaves,
    _columns_placement,
    _columns_precision,
    _columns_saved,
    _columns_state,
    _columns_trees,
)
from optix_tricks.testing._check import Column, Columns, check, select
from optix_tricks.testing._pytest import test_of
from optix_tricks.testing._subject import TransformationSubject
from optix_tricks.testing._table import Table

FAMILIES = (
    _columns_state,
    _columns_precision,
    _columns_gradients,
    _columns_leaves,
    _columns_hyperparams,
    _columns_placement,
    _columns_composition,
    _columns_trees,
    _columns_saved,
    _columns_invariances,
)
TRANSFORMATION_COLUMNS: dict[str, Column] = {
    column.__name__: column for family in FAMILIES for column in family.COLUMNS
}


def check_transformation(factory: Any, *, columns: Columns = None, **about: Any) -> Table:
    """Ask a gradient transformation, anybody's, what an Optax citizen is asked here.

    Args:
      factory: makes the transformation; it takes each of `hyperparams` by name.
      columns: names out of `TRANSFORMATION_COLUMNS`, or functions of a
        `TransformationSubject` of your own; by default all that there are.
      **about: `hyperparams`, `params`, `grads`, `extra`, `invariances`, `updates_dtype`,
        `roundings` and `name`, as `TransformationSubject` takes them.

    Returns:
      A row for each column: pass, fail with the error and one line of Python that shows
      it, or not applicable with the reason. A transformation that fails raises nothing.

    Helps before a transformation of your own trains anything: most columns are about what
    a first try in float32 on one device does not show. Hurts nothing.

    Cost: some seconds, most of them of compiling; a column alone takes less than one.

    Raises:
      ValueError: if a column is unknown (the nearest is named), a hyperparameter is no
        argument of the factory, or the gradients are no tree like the parameters.
      TypeError: if the factory is not callable, or a hyperparameter no number.

    >>> import optax
    >>> table = check_transformation(
    ...     optax.sgd,
    ...     hyperparams={"learning_rate": 0.1},
    ...     columns=["jit_equals_eager", "leaves_are_on_their_own"],
    ... )
    >>> print(table)
    optax.sgd(learning_rate=0.1): 1 pass, 0 fail, 1 not applicable
      jit_equals_eager         pass
      leaves_are_on_their_own  not applicable  'leafwise' is not declared
    """
    chosen = select(columns, TRANSFORMATION_COLUMNS)
    return check(TransformationSubject(factory, **about), chosen)


def transformation_test(
    factory: Any, *, columns: Columns = None, **about: Any
) -> Callable[..., None]:
    """Return a test for pytest, parametrised by column, of a gradient transformation.

    A column that fails shows the line that reproduces it. One that is not applicable
    passes, and its reason is a property of the test in the report (`--junit-xml`).

    Args:
      factory: as in `check_transformation`, as are the rest.
      columns: names or functions.
      **about: hyperparameters and what else there is to say.

    >>> import optax
    >>> test_sgd = transformation_test(optax.sgd, hyperparams={"learning_rate": 0.1})
    """
    chosen = select(columns, TRANSFORMATION_COLUMNS)
    return test_of(TransformationSubject(factory, **about), chosen)
