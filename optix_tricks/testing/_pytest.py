"""A subject and its columns as one parametrised test."""

from collections.abc import Callable, Sequence
from typing import Any

from optix_tricks.testing._check import Column, Subject, assert_column


def test_of(subject: Subject, columns: Sequence[Column]) -> Callable[..., None]:
    """Return a test that pytest runs once a column; what is not applicable passes."""
    import pytest  # the caller's: the package does without

    @pytest.mark.parametrize("column", columns, ids=lambda column: column.__name__)
    def test(column: Column, record_property: Callable[[str, Any], None]) -> None:
        reason = assert_column(subject, column)
        if reason is not None:
            record_property("not applicable", reason)

    test.__doc__ = subject.name
    return test


test_of.__test__ = False  # type: ignore[attr-defined]  # it makes tests and is none
