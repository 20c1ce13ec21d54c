"""Gradient transformations, each one a rule on a single array.

=========================  ==================================================
`sgd`, `trace`, `ema`      momentum: heavy ball, dampening, Nesterov, average
`rmsprop`                  root-mean-square scaling, plain, centered
`adam`, `adamw`            both, with bias correction; decoupled decay
`lars`                     a rate for each layer from its norms
`add_decayed_weights`      L2 or decoupled decay, by its place in the chain
`add_l1_decay`             L1
`clip`, `clip_by_norm`,    clipping by value, by layer, by the whole
`clip_by_global_norm`
`scale_by_learning_rate`   the last link
`report`                   what the last step did
=========================  ==================================================
"""

from optix_tricks.transforms._adam import adam, adamw, scale_by_adam
from optix_tricks.transforms._clipping import clip, clip_by_global_norm, clip_by_norm
from optix_tricks.transforms._decay import add_decayed_weights, add_l1_decay
from optix_tricks.transforms._lars import lars, scale_by_lars
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._momentum import ema, sgd, trace
from optix_tricks.transforms._report import report
from optix_tricks.transforms._rms import rmsprop, scale_by_rms, scale_by_stddev

__all__ = [
    "adam",
    "adamw",
    "add_decayed_weights",
    "add_l1_decay",
    "clip",
    "clip_by_global_norm",
    "clip_by_norm",
    "ema",
    "lars",
    "report",
    "rmsprop",
    "scale_by_adam",
    "scale_by_lars",
    "scale_by_learning_rate",
    "scale_by_rms",
    "scale_by_stddev",
    "sgd",
    "trace",
]
