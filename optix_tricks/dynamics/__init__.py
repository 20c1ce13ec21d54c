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

from optix_tricks._arguments import check_arguments
from optix_tricks.dynamics.batches import (
    BatchTrade,
    GradientStatistics,
    NoiseScale,
    RunningNoiseScale,
    RunningNoiseScaleState,
    batch_trade,
    gradient_noise_scale,
    gradient_statistics,
    noise_scale_from_norms,
    running_noise_scale,
)
from optix_tricks.dynamics.curvature import (
    BlockCurvature,
    ConditionNumber,
    CriticalPoint,
    CurvatureEstimate,
    Eigenpairs,
    EscapeDirection,
    SpectralDensity,
    TaylorModel,
    block_curvature,
    classify_critical_point,
    condition_number,
    curvature_diagonal,
    curvature_trace,
    eigenpairs,
    escape_direction,
    ggn_operator,
    hessian_operator,
    spectral_density,
    taylor_model,
)
from optix_tricks.dynamics.diagnosis import (
    Diagnosis,
    History,
    LayerProfile,
    diagnose,
    layer_profile,
    read_history,
)
from optix_tricks.dynamics.norms import (
    Autocorrelation,
    CorrectedEquilibrium,
    Equilibrium,
    EquilibriumComparison,
    ObserveWeightNormsState,
    ScaleInvariance,
    WeightNormRecord,
    WeightNorms,
    compare_equilibrium,
    corrected_equilibrium,
    equilibrium,
    equilibrium_norm,
    gradient_autocorrelation,
    observe_weight_norms,
    scale_invariance,
    weight_norm_record,
    weight_norms,
)
from optix_tricks.dynamics.rates import (
    RangeTest,
    RateSuggestion,
    RateSuggestions,
    learning_rate_range_test,
    scan_learning_rates,
    suggest_learning_rates,
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

check_arguments(__name__)
