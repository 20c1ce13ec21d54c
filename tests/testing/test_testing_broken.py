"""Each fault is found by the columns that are about it, and by no other."""

import importlib
import re

import jax
import pytest

from optix_tricks import testing
from optix_tricks.testing._check import check
from testing import broken

COLUMNS = tuple(testing.TRANSFORMATION_COLUMNS.values())


@pytest.mark.parametrize("factory", broken.BROKEN, ids=lambda f: f.__name__)
def test_a_fault_is_found_where_it_belongs(factory):
    table = check(broken.subject(factory), COLUMNS)
    assert {row.column for row in table.failures} == broken.BROKEN[factory], str(table)
