"""What holds for every layer: rows from rows.py, a column a test.

The columns are the public ones of `optix_tricks.testing`. The first row of each layer
runs by default, its further settings in `make test-all`.
"""

import functools
import inspect

import pytest
from flax import nnx

from layers.rows import ROWS
from optix_tricks import layers, testing

every = pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, marks=pytest.mark.slow) if ":" in row.name else place
        for place, row in enumerate(ROWS)
    ],
    ids=[row.name for row in ROWS],
)


@functools.cache
def subject(place):
    row = ROWS[place]
    return testing.LayerSubject(
        row.build,
        row.shape,
        training=row.training,
        evaluation=row.evaluation,
        gradient=row.gradient,
        name=row.name,
    )


def test_every_public_layer_has_a_row():
    public = {
        name
        for name in layers.__all__
        if inspect.isclass(getattr(layers, name))
        and issubclass(getattr(layers, name), nnx.Module)
    }
    assert public == {row.name.split(":")[0] for row in ROWS}


def of_every_row(column):
    @every
    def test(place):
        assert testing.assert_column(subject(place), column) is None

    return test


for column in testing.LAYER_COLUMNS.values():
    globals()[f"test_{column.__name__}"] = of_every_row(column)
