"""What every loss keeps to, one row a loss; see rows.py.

The columns are the public ones of `optix_tricks.testing`.
"""

import functools

import pytest

from losses.rows import ROWS
from optix_tricks import losses, testing

SLOW = {"sharded_batch_on_an_automatic_mesh"}


@functools.cache
def subject(place):
    row = ROWS[place]
    return testing.LossSubject(
        row.loss,
        row.make,
        shape=row.shape,
        differentiable=row.differentiable,
        scores=row.scores,
        rtol=row.rtol,
        name=f"losses.{row.name}",
    )


def test_every_public_name_has_a_row():
    assert {row.name for row in ROWS} == set(losses.__all__)


def of_every_row(column):
    ids = [f"{row.name}-{i}" for i, row in enumerate(ROWS)]

    @pytest.mark.parametrize("place", range(len(ROWS)), ids=ids)
    def test(place):
        reason = testing.assert_column(subject(place), column)
        excuse = None if ROWS[place].differentiable else "no argument is differentiable"
        assert reason in (None, excuse)

    return pytest.mark.slow(test) if column.__name__ in SLOW else test


for column in testing.LOSS_COLUMNS.values():
    globals()[f"test_{column.__name__}"] = of_every_row(column)
