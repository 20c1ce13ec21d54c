"""The contract of layers: a call that asks its columns, and a test."""

from collections.abc import Callable
from typing import Any

from optix_tricks.testing._check import Column, Columns, check, select
from optix_tricks.testing._columns_layer import COLUMNS
from optix_tricks.testing._layer_subject import LayerSubject
from optix_tricks.testing._pytest import test_of
from optix_tricks.testing._table import Table

LAYER_COLUMNS: dict[str, Column] = {column.__name__: column for column in COLUMNS}


def check_layer(
    build: Callable[..., Any],
    shape: tuple[int, ...],
    *,
    columns: Columns = None,
    **about: Any,
) -> Table:
    """Ask a flax.nnx layer, anybody's, what a layer is asked here.

    Args:
      build: makes the layer; it takes `dtype` and `param_dtype` by name.
      shape: of an input.
      columns: names out of `LAYER_COLUMNS`, or functions of a `LayerSubject` of your own;
        by default all that there are.
      **about: `training`, `evaluation`, `gradient` and `name`, as `LayerSubject` takes
        them.

    Returns:
      A row for each column: pass, fail with the error and one line of Python that asks it
      again, or not applicable with the reason.

    Helps with layers that keep statistics or compute in 16 bits. Hurts nothing. Cost:
    some seconds, nearly all of compiling.

    Raises:
      ValueError: if a column is unknown; the nearest is named.
      TypeError: if `build` is no function.

    >>> import functools
    >>> from flax import nnx
    >>> build = functools.partial(nnx.LayerNorm, 6, rngs=nnx.Rngs(0))
    >>> table = check_layer(build, (4, 6), columns="dtype_in_is_dtype_out")
    >>> table.passed
    True
    """
    return check(LayerSubject(build, shape, **about), select(columns, LAYER_COLUMNS))


def layer_test(
    build: Callable[..., Any],
    shape: tuple[int, ...],
    *,
    columns: Columns = None,
    **about: Any,
) -> Callable[..., None]:
    """Return a test for pytest, parametrised by column, of a layer.

    Args:
      build: as in `check_layer`, as are the rest.
      shape: of an input.
      columns: names or functions.
      **about: what else there is to say.

    >>> import functools
    >>> from flax import nnx
    >>> build = functools.partial(nnx.LayerNorm, 6, rngs=nnx.Rngs(0))
    >>> test_norm = layer_test(build, (4, 6))
    """
    return test_of(LayerSubject(build, shape, **about), select(columns, LAYER_COLUMNS))
