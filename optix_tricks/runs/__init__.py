"""What comes after a run: predictions, tests on other data, files for other programs."""

from optix_tricks._arguments import check_arguments
from optix_tricks.runs._trained import TrainedRun, load_run

__all__ = ["TrainedRun", "load_run"]

check_arguments(__name__)
