"""From a run's directory to figures and one self-contained page; schedules drawn."""

# ruff: noqa: E402

from optix_tricks._arguments import check_arguments
from optix_tricks._extras import needed

needed("matplotlib"), needed("PIL")

from optix_tricks.reports._batch_size import plot_batch_trade
from optix_tricks.reports._compare import write_comparison
from optix_tricks.reports._critical_points import plot_taylor_model
from optix_tricks.reports._curves import plot_curves
from optix_tricks.reports._diagnosis import plot_confusion, plot_diagnosis
from optix_tricks.reports._effects import plot_effects
from optix_tricks.reports._initializers import plot_initializers
from optix_tricks.reports._layer_profile import plot_layer_profile
from optix_tricks.reports._ledger_page import write_ledger
from optix_tricks.reports._page import write_report
from optix_tricks.reports._range_test import plot_range_test
from optix_tricks.reports._rate_sweep import plot_rate_sweep
from optix_tricks.reports._read import ReportError, Run, read_run
from optix_tricks.reports._schedules import plot_schedule
from optix_tricks.reports._spectral_density import plot_spectral_density
from optix_tricks.reports._sweep import plot_sweep, write_sweep
from optix_tricks.reports._weight_norms import plot_weight_norms

__all__ = [
    "ReportError",
    "Run",
    "plot_batch_trade",
    "plot_confusion",
    "plot_curves",
    "plot_diagnosis",
    "plot_effects",
    "plot_initializers",
    "plot_layer_profile",
    "plot_range_test",
    "plot_rate_sweep",
    "plot_schedule",
    "plot_spectral_density",
    "plot_sweep",
    "plot_taylor_model",
    "plot_weight_norms",
    "read_run",
    "write_comparison",
    "write_ledger",
    "write_report",
    "write_sweep",
]

check_arguments(__name__)
