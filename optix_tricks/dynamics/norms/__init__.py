"""Weight norms under weight decay: what they are, and where they come to rest."""

from optix_tricks._arguments import check_arguments
from optix_tricks.dynamics.norms._autocorrelation import (
    Autocorrelation,
    gradient_autocorrelation,
)
from optix_tricks.dynamics.norms._corrected_equilibrium import (
    CorrectedEquilibrium,
    corrected_equilibrium,
)
from optix_tricks.dynamics.norms._equilibrium import (
    Equilibrium,
    equilibrium,
    equilibrium_norm,
)
from optix_tricks.dynamics.norms._norm_dynamics import (
    WeightNorms,
    weight_norms,
)
from optix_tricks.dynamics.norms._observer import (
    ObserveWeightNormsState,
    observe_weight_norms,
)
from optix_tricks.dynamics.norms._scale_invariance import (
    ScaleInvariance,
    scale_invariance,
)
from optix_tricks.dynamics.norms._weight_norm_record import (
    EquilibriumComparison,
    WeightNormRecord,
    compare_equilibrium,
    weight_norm_record,
)

__all__ = [
    "Autocorrelation",
    "CorrectedEquilibrium",
    "Equilibrium",
    "EquilibriumComparison",
    "ObserveWeightNormsState",
    "ScaleInvariance",
    "WeightNormRecord",
    "WeightNorms",
    "compare_equilibrium",
    "corrected_equilibrium",
    "equilibrium",
    "equilibrium_norm",
    "gradient_autocorrelation",
    "observe_weight_norms",
    "scale_invariance",
    "weight_norm_record",
    "weight_norms",
]

check_arguments(__name__)
