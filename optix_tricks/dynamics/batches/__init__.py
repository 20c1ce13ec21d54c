"""The noise of gradients, and the batch size that it asks for."""

from optix_tricks._arguments import check_arguments
from optix_tricks.dynamics.batches._batch_trade import (
    BatchTrade,
    batch_trade,
)
from optix_tricks.dynamics.batches._gradient_statistics import (
    GradientStatistics,
    gradient_statistics,
)
from optix_tricks.dynamics.batches._noise_scale import (
    NoiseScale,
    gradient_noise_scale,
    noise_scale_from_norms,
)
from optix_tricks.dynamics.batches._running_noise_scale import (
    RunningNoiseScale,
    RunningNoiseScaleState,
    running_noise_scale,
)

__all__ = [
    "BatchTrade",
    "GradientStatistics",
    "NoiseScale",
    "RunningNoiseScale",
    "RunningNoiseScaleState",
    "batch_trade",
    "gradient_noise_scale",
    "gradient_statistics",
    "noise_scale_from_norms",
    "running_noise_scale",
]

check_arguments(__name__)
