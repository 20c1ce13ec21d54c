"""Initialisers: functions of key, shape and dtype, and procedures over a whole model.

| name | what it is |
|---|---|
| `zeros`, `ones`, `constant` | JAX's |
| `normal`, `truncated_normal`, `uniform` | JAX's, of a given scale |
| `variance_scaling`, `glorot_*` = `xavier_*`, `he_*` = `kaiming_*`, `lecun_*` | JAX's |
| `orthogonal`, `delta_orthogonal` | JAX's |
| `random_uniform` | uniform between two bounds |
| `uniform_unit_scaling` | uniform that keeps the variance through a linear layer |
| `dirac` | a convolution that starts as the identity |
| `patch_whitening` | a first convolution that whitens the images' patches |
| `zero_gamma` | residual branches that start at zero |
| `lsuv` | kernels scaled until a batch has variance 1 in every layer |
| `variance_by_depth` | variances of activations and gradients through a model |
| `compare_initializers` | the same for initialisers and nonlinearities in plain nets |

Initialisers follow JAX's protocol, `init(key, shape, dtype, out_sharding)`, and stand
under the names by which the field calls them. Those that JAX has are JAX's own, drawn in
float32 where 16 bits are asked for: drawn in bfloat16 they have a mean below zero.
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.initializers._compare import (
    InitializerComparison,
    compare_initializers,
)
from optix_tricks.initializers._depth import DepthVariance, variance_by_depth
from optix_tricks.initializers._dirac import dirac
from optix_tricks.initializers._fans import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    xavier_normal,
    xavier_uniform,
)
from optix_tricks.initializers._lsuv import LayerVariance, lsuv
from optix_tricks.initializers._standard import (
    constant,
    delta_orthogonal,
    normal,
    ones,
    orthogonal,
    truncated_normal,
    uniform,
    zeros,
)
from optix_tricks.initializers._uniform import random_uniform, uniform_unit_scaling
from optix_tricks.initializers._variance_scaling import variance_scaling
from optix_tricks.initializers._whitening import patch_whitening
from optix_tricks.initializers._zero_gamma import zero_gamma

__all__ = [
    "DepthVariance",
    "InitializerComparison",
    "LayerVariance",
    "compare_initializers",
    "constant",
    "delta_orthogonal",
    "dirac",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "lsuv",
    "normal",
    "ones",
    "orthogonal",
    "patch_whitening",
    "random_uniform",
    "truncated_normal",
    "uniform",
    "uniform_unit_scaling",
    "variance_by_depth",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zero_gamma",
    "zeros",
]

check_arguments(__name__)
