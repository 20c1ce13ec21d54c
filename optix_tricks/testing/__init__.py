"""The contract of this package's parts, for the parts of any JAX project.

A contract is a table: a column is one property, asked of a subject in a few lines of
Python, and a row says whether it holds, by which line a failure is seen, or why it cannot
be asked.

The lines start from `testing.IMPORTS`.
"""

from optix_tricks.testing import _strategies as strategies
from optix_tricks.testing._check import NotApplicable, assert_column, showing
from optix_tricks.testing._columns_trees import Layer, Pair, nnx_module, three_layers
from optix_tricks.testing._compare import (
    assert_close,
    assert_equal,
    assert_finite,
    assert_one_rounding,
    assert_same_signature,
    cast,
    signature,
)
from optix_tricks.testing._loss import with_a_loss
from optix_tricks.testing._run import compiled, example, run
from optix_tricks.testing._slots import slots
from optix_tricks.testing._subject import IMPORTS, TransformationSubject, inject
from optix_tricks.testing._table import Row, Table
from optix_tricks.testing._transformations import (
    TRANSFORMATION_COLUMNS,
    check_transformation,
    transformation_test,
)

__all__ = [
    "IMPORTS",
    "TRANSFORMATION_COLUMNS",
    "Layer",
    "NotApplicable",
    "Pair",
    "Row",
    "Table",
    "TransformationSubject",
    "assert_close",
    "assert_column",
    "assert_equal",
    "assert_finite",
    "assert_one_rounding",
    "assert_same_signature",
    "cast",
    "check_transformation",
    "compiled",
    "example",
    "inject",
    "nnx_module",
    "run",
    "showing",
    "signature",
    "slots",
    "strategies",
    "three_layers",
    "transformation_test",
    "with_a_loss",
]
