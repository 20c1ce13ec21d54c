"""What a command of the lab does: experiments over recipes, and their files."""

from optix_tricks._arguments import check_arguments
from optix_tricks.studies._curvature import measure_curvature
from optix_tricks.studies._learning_rate import (
    LearningRateStudy,
    find_learning_rate,
    write_learning_rate_study,
)
from optix_tricks.studies._probe import probe_run
from optix_tricks.studies._rate_sweep import RateSweep, sweep_learning_rates
from optix_tricks.studies._stuck import diagnose_run
from optix_tricks.studies._weight_norm import run_study

__all__ = [
    "LearningRateStudy",
    "RateSweep",
    "diagnose_run",
    "find_learning_rate",
    "measure_curvature",
    "probe_run",
    "run_study",
    "sweep_learning_rates",
    "write_learning_rate_study",
]

check_arguments(__name__)
