"""Why a run is stuck: what its log and its layers say."""

from optix_tricks._arguments import check_arguments
from optix_tricks.dynamics.diagnosis._diagnose import (
    Diagnosis,
    diagnose,
)
from optix_tricks.dynamics.diagnosis._history import (
    History,
    read_history,
)
from optix_tricks.dynamics.diagnosis._layer_profile import (
    LayerProfile,
    layer_profile,
)

__all__ = [
    "Diagnosis",
    "History",
    "LayerProfile",
    "diagnose",
    "layer_profile",
    "read_history",
]

check_arguments(__name__)
