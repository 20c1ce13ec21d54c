"""`optix-tricks report`."""

import dataclasses

from optix_tricks.cli._options import parsed
from optix_tricks.cli._positional import Run


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """Whose page is drawn."""

    run: Run
    """a run's directory"""
    debug: bool = False
    """show the traceback of an error"""


def report(arguments: list[str]) -> None:
    """Draw the page and the figures of a run again, and print where they are."""
    options = parsed(ReportOptions, "report", report.__doc__, arguments)
    from optix_tricks.reports import write_report

    print(write_report(options.run))
