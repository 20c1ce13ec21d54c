"""Each fault is found by the columns that are about it, and by no other."""

import jax
import jax.numpy as jnp
import pytest

from optix_tricks import testing
from optix_tricks.testing._check import check
from testing import broken

COLUMNS = tuple(testing.TRANSFORMATION_COLUMNS.values())


@pytest.mark.parametrize("factory", broken.BROKEN, ids=lambda f: f.__name__)
def test_a_fault_is_found_where_it_belongs_and_its_line_shows_it(factory):
    table = check(broken.subject(factory), COLUMNS)
    assert {row.column for row in table.failures} == broken.BROKEN[factory], str(table)
    assert table.passed == (not broken.BROKEN[factory])
    for row in table.failures:
        assert "\n" not in row.reproduction
        fails(row.reproduction, factory)


def fails(line, factory):
    """Run the line as a person would who has `broken`, `params` and `grads`."""
    subject = broken.subject(factory)
    names = {"broken": broken, "grads": subject.grads}
    names["params"] = jax.tree.map(jnp.copy, subject.params)
    exec(testing.IMPORTS, names)
    try:
        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever it raises
            exec(line, names)
    finally:
        jax.config.update("jax_enable_x64", False)


def test_every_column_finds_a_fault():
    found = set().union(*broken.BROKEN.values())
    assert found == testing.TRANSFORMATION_COLUMNS.keys()
