"""The contract of this package's parts, for the parts of any JAX project.

A contract is a table: a column is one property, asked of a subject in a few lines of
Python, and a row says whether it holds, by which line a failure is seen, or why it cannot
be asked.

The lines start from `testing.IMPORTS`.
"""

from optix_tricks._arguments import check_arguments
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
from optix_tricks.testing._layer_subject import LayerSubject
from optix_tricks.testing._layers import LAYER_COLUMNS, check_layer, layer_test
from optix_tricks.testing._loss import with_a_loss
from optix_tricks.testing._loss_subject import LossSubject
from optix_tricks.testing._losses import LOSS_COLUMNS, check_loss, loss_test
from optix_tricks.testing._run import compiled, example, run
from optix_tricks.testing._schedule_subject import ScheduleSubject
from optix_tricks.testing._schedules import (
    SCHEDULE_COLUMNS,
    check_schedule,
    schedule_test,
)
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
    "LAYER_COLUMNS",
    "LOSS_COLUMNS",
    "SCHEDULE_COLUMNS",
    "TRANSFORMATION_COLUMNS",
    "Layer",
    "LayerSubject",
    "LossSubject",
    "NotApplicable",
    "Pair",
    "Row",
    "ScheduleSubject",
    "Table",
    "TransformationSubject",
    "assert_close",
    "assert_column",
    "assert_equal",
    "assert_finite",
    "assert_one_rounding",
    "assert_same_signature",
    "cast",
    "check_layer",
    "check_loss",
    "check_schedule",
    "check_transformation",
    "compiled",
    "example",
    "inject",
    "layer_test",
    "loss_test",
    "nnx_module",
    "run",
    "schedule_test",
    "showing",
    "signature",
    "slots",
    "strategies",
    "three_layers",
    "transformation_test",
    "with_a_loss",
]

check_arguments(__name__)
