"""The contract of this package's parts, for the parts of any JAX project.

A contract is a table: a column is one property, asked of a subject in a few lines of
Python, and a row says whether it holds, by which line a failure is seen, or why it cannot
be asked.
"""

from optix_tricks.testing._check import NotApplicable, assert_column, showing
from optix_tricks.testing._table import Row, Table

__all__ = ["NotApplicable", "Row", "Table", "assert_column", "showing"]
