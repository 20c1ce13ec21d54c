"""An error of a write is said once: where it is raised."""

import functools
import logging
import sys
from typing import Any

CLOSED = "Event loop is closed"


def say_errors_once() -> None:
    """Leave out what Orbax and TensorStore print of the errors that they also raise."""
    logging.getLogger("absl").addFilter(_is_not_raised)
    if getattr(sys.unraisablehook, "func", None) is not _show:
        sys.unraisablehook = functools.partial(_show, sys.unraisablehook)


def _is_not_raised(record: logging.LogRecord) -> bool:
    """Whether what is logged is no error of Orbax's, which it also raises."""
    return record.exc_info is None or "orbax" not in record.pathname


def _show(shown_by: Any, error: "sys.UnraisableHookArgs") -> None:
    """Pass on all but what TensorStore's writers meet once one of them has failed.

    The first failure closes the event loop to which the others still hand their results.
    """
    if not (error.object is None and str(error.exc_value) == CLOSED):
        shown_by(error)
