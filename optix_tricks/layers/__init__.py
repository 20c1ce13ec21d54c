"""Layers for flax.nnx: what it lacks, and what does in it what its paper does not say.

| name | layer |
|---|---|
| `BatchNorm` | normalise over the batch |
| `BatchRenorm` | the same, corrected towards the running statistics |
| `renorm_bounds`, `unopened_bounds` | its bounds by the length of a run |
| `GhostBatchNorm` | the same, over parts of the batch |
| `FrozenScaleBatchNorm` | the same, with a scale that is not trained |
| `LayerNorm`, `RMSNorm`, `GroupNorm`, `InstanceNorm` | normalise each example |
| `WeightNorm` | a kernel as trained direction and trained length |
| `SpectralNorm` | a kernel divided by its largest singular value |
| `spectral_penalty`, `spectral_vectors` | half the squared largest singular values |
| `WSConv` | a convolution whose kernel is standardised |
| `Dropout` | that of flax, with its rate checked |
| `DropConnect` | dropout of weights |
| `LayerScale` | a small trained factor for each feature of a residual branch |
| `DropPath`, `stochastic_depth_rates` | dropout of residual branches |
| `layer_outputs`, `named_layers` | read the outputs of a model's layers |

Each is a drop-in for the layer of flax that it stands beside: same names of arguments,
`rngs` last. Parameters are `nnx.Param`, running statistics `nnx.BatchStat`; both are
float32, and so are norms and statistics, whatever the activations' dtype.
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.layers._batch_norm import BatchNorm
from optix_tricks.layers._batch_renorm import (
    BatchRenorm,
    RenormBounds,
    renorm_bounds,
    unopened_bounds,
)
from optix_tricks.layers._drop_connect import DropConnect
from optix_tricks.layers._drop_path import DropPath, stochastic_depth_rates
from optix_tricks.layers._dropout import Dropout
from optix_tricks.layers._example_norms import (
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    RMSNorm,
)
from optix_tricks.layers._frozen_scale import FrozenScaleBatchNorm
from optix_tricks.layers._ghost_batch_norm import GhostBatchNorm
from optix_tricks.layers._layer_scale import LayerScale
from optix_tricks.layers._outputs import layer_outputs, named_layers
from optix_tricks.layers._spectral_norm import SpectralNorm
from optix_tricks.layers._spectral_penalty import spectral_penalty, spectral_vectors
from optix_tricks.layers._weight_norm import WeightNorm
from optix_tricks.layers._weight_standardization import WSConv

__all__ = [
    "BatchNorm",
    "BatchRenorm",
    "DropConnect",
    "DropPath",
    "Dropout",
    "FrozenScaleBatchNorm",
    "GhostBatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LayerScale",
    "RMSNorm",
    "RenormBounds",
    "SpectralNorm",
    "WSConv",
    "WeightNorm",
    "layer_outputs",
    "named_layers",
    "renorm_bounds",
    "spectral_penalty",
    "spectral_vectors",
    "stochastic_depth_rates",
    "unopened_bounds",
]

check_arguments(__name__)
