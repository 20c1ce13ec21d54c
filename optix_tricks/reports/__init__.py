"""From a run's directory to figures and one self-contained page; schedules drawn."""

from optix_tricks.reports._curves import plot_curves
from optix_tricks.reports._initializers import plot_initializers
from optix_tricks.reports._page import write_report
from optix_tricks.reports._read import ReportError, Run, read_run
from optix_tricks.reports._schedules import plot_schedule

__all__ = [
    "ReportError",
    "Run",
    "plot_curves",
    "plot_initializers",
    "plot_schedule",
    "read_run",
    "write_report",
]
