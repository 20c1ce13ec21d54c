"""The Hessian and the Gauss-Newton matrix: spectra, critical points, local models."""

from optix_tricks._arguments import check_arguments
from optix_tricks.dynamics.curvature._blocks import (
    BlockCurvature,
    block_curvature,
)
from optix_tricks.dynamics.curvature._condition import (
    ConditionNumber,
    condition_number,
)
from optix_tricks.dynamics.curvature._critical_points import (
    CriticalPoint,
    classify_critical_point,
)
from optix_tricks.dynamics.curvature._eigenpairs import (
    Eigenpairs,
    eigenpairs,
)
from optix_tricks.dynamics.curvature._escape_direction import (
    EscapeDirection,
    escape_direction,
)
from optix_tricks.dynamics.curvature._products import (
    ggn_operator,
    hessian_operator,
)
from optix_tricks.dynamics.curvature._spectral_density import (
    SpectralDensity,
    spectral_density,
)
from optix_tricks.dynamics.curvature._taylor import (
    TaylorModel,
    taylor_model,
)
from optix_tricks.dynamics.curvature._trace import (
    CurvatureEstimate,
    curvature_diagonal,
    curvature_trace,
)

__all__ = [
    "BlockCurvature",
    "ConditionNumber",
    "CriticalPoint",
    "CurvatureEstimate",
    "Eigenpairs",
    "EscapeDirection",
    "SpectralDensity",
    "TaylorModel",
    "block_curvature",
    "classify_critical_point",
    "condition_number",
    "curvature_diagonal",
    "curvature_trace",
    "eigenpairs",
    "escape_direction",
    "ggn_operator",
    "hessian_operator",
    "spectral_density",
    "taylor_model",
]

check_arguments(__name__)
