"""Runs to look at."""

from tests.runs.trained import runs  # noqa: F401
