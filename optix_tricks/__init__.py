"""The tricks that make neural networks train, in JAX: proven, measured, composable.

Gradient transformations and schedules are plain `optax` citizens: compose them with
`optax.chain`. The compiled training step, data and recipes live in
`optix_tricks.training` and `optix_tricks.recipes`, which import Flax; this module does
not.
"""

from optix_tricks._packed import Packed, pack, pack_like, unpack
from optix_tricks._tree import mask_by_path, mask_by_rank, no_bias_or_norm
from optix_tricks.transforms import (
    adam,
    adamw,
    add_decayed_weights,
    add_l1_decay,
    clip,
    clip_by_global_norm,
    clip_by_norm,
    ema,
    lars,
    report,
    rmsprop,
    scale_by_adam,
    scale_by_lars,
    scale_by_learning_rate,
    scale_by_rms,
    scale_by_stddev,
    sgd,
    trace,
)

__version__ = "0.1.0"

__all__ = [
    "Packed",
    "adam",
    "adamw",
    "add_decayed_weights",
    "add_l1_decay",
    "clip",
    "clip_by_global_norm",
    "clip_by_norm",
    "ema",
    "lars",
    "mask_by_path",
    "mask_by_rank",
    "no_bias_or_norm",
    "pack",
    "pack_like",
    "report",
    "rmsprop",
    "scale_by_adam",
    "scale_by_lars",
    "scale_by_learning_rate",
    "scale_by_rms",
    "scale_by_stddev",
    "sgd",
    "trace",
    "unpack",
]
