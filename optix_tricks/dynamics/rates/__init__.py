"""The learning-rate range test and what it suggests."""

from optix_tricks._arguments import check_arguments
from optix_tricks.dynamics.rates._range_test import (
    learning_rate_range_test,
)
from optix_tricks.dynamics.rates._rate_scan import (
    RangeTest,
    scan_learning_rates,
)
from optix_tricks.dynamics.rates._suggestions import (
    RateSuggestion,
    RateSuggestions,
    suggest_learning_rates,
)

__all__ = [
    "RangeTest",
    "RateSuggestion",
    "RateSuggestions",
    "learning_rate_range_test",
    "scan_learning_rates",
    "suggest_learning_rates",
]

check_arguments(__name__)
