"""`optix-tricks report`."""

import dataclasses

from optix_tricks.cli._options import UsageError, parsed
from optix_tricks.cli._positional import Runs


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """Whose page is drawn."""

    runs: Runs
    """directories of runs: the page of one, or several beside each other"""
    debug: bool = False
    """show the traceback of an error"""


def report(arguments: list[str]) -> None:
    """Draw the page of a run again, or one on several; print where it is."""
    options = parsed(ReportOptions, "report", report.__doc__, arguments)
    if not options.runs:
        raise UsageError("report takes the directory of a run, or of several, got none.")
    from optix_tricks.reports import write_comparison, write_report

    first, *others = options.runs
    print(write_comparison([first, *others]) if others else write_report(first))
