"""Reading a run: what its weights, gradients and curvature do, and what that means.

=========================  ==================================================
weight norms               weight_norms, observe_weight_norms, weight_norm_record,
                           scale_invariance
their equilibrium          equilibrium, equilibrium_norm, corrected_equilibrium,
                           compare_equilibrium, gradient_autocorrelation
range test                 learning_rate_range_test, scan_learning_rates,
                           suggest_learning_rates
curvature                  hessian_operator, ggn_operator, eigenpairs,
                           curvature_trace, curvature_diagonal, spectral_density,
                           condition_number, block_curvature
critical points            classify_critical_point, taylor_model, escape_direction
layers                     layer_profile
batch size                 gradient_noise_scale, noise_scale_from_norms,
                           running_noise_scale, gradient_statistics, batch_trade
why a run is stuck         diagnose, read_history
=========================  ==================================================
"""

from optix_tricks.dynamics._autocorrelation import (
    Autocorrelation,
    gradient_autocorrelation,
)
from optix_tricks.dynamics._batch_trade import BatchTrade, batch_trade
from optix_tricks.dynamics._blocks import BlockCurvature, block_curvature
from optix_tricks.dynamics._condition import ConditionNumber, condition_number
from optix_tricks.dynamics._corrected_equilibrium import (
    CorrectedEquilibrium,
    corrected_equilibrium,
)
from optix_tricks.dynamics._critical_points import (
    CriticalPoint,
    classify_critical_point,
)
from optix_tricks.dynamics._diagnose import Diagnosis, diagnose
from optix_tricks.dynamics._eigenpairs import Eigenpairs, eigenpairs
from optix_tricks.dynamics._equilibrium import (
    Equilibrium,
    equilibrium,
    equilibrium_norm,
)
from optix_tricks.dynamics._escape_direction import (
    EscapeDirection,
    escape_direction,
)
from optix_tricks.dynamics._gradient_statistics import (
    GradientStatistics,
    gradient_statistics,
)
from optix_tricks.dynamics._history import History, read_history
from optix_tricks.dynamics._layer_profile import LayerProfile, layer_profile
from optix_tricks.dynamics._noise_scale import (
    NoiseScale,
    gradient_noise_scale,
    noise_scale_from_norms,
)
from optix_tricks.dynamics._norm_dynamics import WeightNorms, weight_norms
from optix_tricks.dynamics._observer import (
    ObserveWeightNormsState,
    observe_weight_norms,
)
from optix_tricks.dynamics._products import ggn_operator, hessian_operator
from optix_tricks.dynamics._range_test import learning_rate_range_test
from optix_tricks.dynamics._rate_scan import RangeTest, scan_learning_rates
from optix_tricks.dynamics._running_noise_scale import (
    RunningNoiseScale,
    RunningNoiseScaleState,
    running_noise_scale,
)
from optix_tricks.dynamics._scale_invariance import ScaleInvariance, scale_invariance
from optix_tricks.dynamics._spectral_density import SpectralDensity, spectral_density
from optix_tricks.dynamics._suggestions import (
    RateSuggestion,
    RateSuggestions,
    suggest_learning_rates,
)
from optix_tricks.dynamics._taylor import TaylorModel, taylor_model
from optix_tricks.dynamics._trace import (
    CurvatureEstimate,
    curvature_diagonal,
    curvature_trace,
)
from optix_tricks.dynamics._weight_norm_record import (
    EquilibriumComparison,
    WeightNormRecord,
    compare_equilibrium,
    weight_norm_record,
)

__all__ = [
    "Autocorrelation",
    "BatchTrade",
    "BlockCurvature",
    "ConditionNumber",
    "CorrectedEquilibrium",
    "CriticalPoint",
    "CurvatureEstimate",
    "Diagnosis",
    "Eigenpairs",
    "Equilibrium",
    "EquilibriumComparison",
    "EscapeDirection",
    "GradientStatistics",
    "History",
    "LayerProfile",
    "NoiseScale",
    "ObserveWeightNormsState",
    "RangeTest",
    "RateSuggestion",
    "RateSuggestions",
    "RunningNoiseScale",
    "RunningNoiseScaleState",
    "ScaleInvariance",
    "SpectralDensity",
    "TaylorModel",
    "WeightNormRecord",
    "WeightNorms",
    "batch_trade",
    "block_curvature",
    "classify_critical_point",
    "compare_equilibrium",
    "condition_number",
    "corrected_equilibrium",
    "curvature_diagonal",
    "curvature_trace",
    "diagnose",
    "eigenpairs",
    "equilibrium",
    "equilibrium_norm",
    "escape_direction",
    "ggn_operator",
    "gradient_autocorrelation",
    "gradient_noise_scale",
    "gradient_statistics",
    "hessian_operator",
    "layer_profile",
    "learning_rate_range_test",
    "noise_scale_from_norms",
    "observe_weight_norms",
    "read_history",
    "running_noise_scale",
    "scale_invariance",
    "scan_learning_rates",
    "spectral_density",
    "suggest_learning_rates",
    "taylor_model",
    "weight_norm_record",
    "weight_norms",
]
