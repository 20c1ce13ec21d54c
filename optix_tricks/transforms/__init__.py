"""Gradient transformations, each one a rule on a single array.

=========================  ==================================================
`sgd`, `trace`, `ema`      momentum: heavy ball, dampening, Nesterov, average
`rmsprop`                  root-mean-square scaling, plain, centered
`adagrad`                  by the sum or the mean of all squared gradients
`adadelta`                 by the sizes of past updates as well
`adam`, `adamw`            both, with bias correction; decoupled decay
`adamax`, `adamaxw`        a decayed maximum in place of the second moment
`nadam`, `nadamw`          Nesterov's momentum, Optax's and PyTorch's form
`amsgrad`                  a second moment that never falls, in three forms
`adabound`                 from Adam to SGD through a closing band; AMSBound
`radam`                    from momentum to Adam as the variance gets known
`lars`, `lamb`             a rate for each layer from its norms
`scale_by_trust_ratio`     LAMB's link
`scale_by_rotation`        weights turn by a given angle, their norm stays
`equilibrium_rotation`     the angle at which weight decay would hold them
`scale_by_group`           a rate for each group of parameters, or one that falls from
                           layer to layer: `layerwise_learning_rate_decay`
`label_by_path`,           groups by name, and a table of who is in which
`group_table`
`add_decayed_weights`      L2 or decoupled decay, by its place in the chain
`add_l1_decay`             L1, as subgradient or proximal
`clip`, `clip_by_norm`,    clipping by value, by layer, by the whole
`clip_by_block_rms`,
`clip_by_global_norm`
`adaptive_grad_clip`       by each unit's weights
`centralize`               gradients less their mean over each unit
`muon`                     orthogonalised momentum for matrices, AdamW for the rest
`scale_by_newton_schulz`   its link: singular values near one
`normalize_weights`        weights of unit scale before every step
`add_noise`                normal noise that falls with the steps
`delayed_gradients`        gradients of some steps ago
`scale_by_learning_rate`   the last link
`lookahead`                wrapper: back to the slow weights every few steps
`sam`                      wrapper: the gradient at the worst point nearby
`ema_of_params`, `swa`     averages of the parameters, read by
`averaged_params`
`plateau`                  a state machine: has a metric stopped improving?
`reduce_on_plateau`        less rate once it has
`observe_plateau`          a value that it judges once an epoch
`newton_cg`, `bfgs`,       second-order methods for small full-batch problems
`lbfgs`, `nonlinear_cg`
`escape_saddle`            leaves saddles along negative curvature
`accumulate`               wrapper: one update from several micro-batches
`skip_nonfinite`,          wrapper: no step where a gradient is NaN or infinite
`skips_steps`              whether a state is of such a chain
`dynamic_loss_scale`,      wrapper: float16 gradients without underflow
`loss_scale`
`master_weights`           wrapper: float32 copies of 16-bit parameters
`round_stochastically`     the last link of 16-bit parameters without copies
`report`                   what the last step did
=========================  ==================================================
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.transforms._accumulate import accumulate
from optix_tricks.transforms._adabound import adabound, scale_by_adabound
from optix_tricks.transforms._adadelta import adadelta, scale_by_adadelta
from optix_tricks.transforms._adagrad import adagrad, scale_by_rss
from optix_tricks.transforms._adam import adam, adamw, scale_by_adam
from optix_tricks.transforms._adamax import adamax, adamaxw, scale_by_adamax
from optix_tricks.transforms._agc import adaptive_grad_clip
from optix_tricks.transforms._amsgrad import amsgrad, scale_by_amsgrad
from optix_tricks.transforms._averaging import averaged_params, ema_of_params, swa
from optix_tricks.transforms._bfgs import bfgs
from optix_tricks.transforms._centralize import centralize
from optix_tricks.transforms._clipping import (
    clip,
    clip_by_block_rms,
    clip_by_global_norm,
    clip_by_norm,
)
from optix_tricks.transforms._decay import add_decayed_weights, add_l1_decay
from optix_tricks.transforms._delay import delayed_gradients
from optix_tricks.transforms._escape import escape_saddle
from optix_tricks.transforms._groups import layerwise_learning_rate_decay, scale_by_group
from optix_tricks.transforms._labels import group_table, label_by_path
from optix_tricks.transforms._lamb import lamb, scale_by_trust_ratio
from optix_tricks.transforms._lars import lars, scale_by_lars
from optix_tricks.transforms._lbfgs import lbfgs
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._lookahead import lookahead
from optix_tricks.transforms._loss_scale import dynamic_loss_scale, loss_scale
from optix_tricks.transforms._master import master_weights
from optix_tricks.transforms._momentum import ema, sgd, trace
from optix_tricks.transforms._muon import muon
from optix_tricks.transforms._nadam import nadam, nadamw, scale_by_nadam
from optix_tricks.transforms._newton_cg import newton_cg
from optix_tricks.transforms._newton_schulz import scale_by_newton_schulz
from optix_tricks.transforms._noise import add_noise
from optix_tricks.transforms._nonlinear_cg import nonlinear_cg
from optix_tricks.transforms._normalize_weights import normalize_weights
from optix_tricks.transforms._plateau import observe_plateau, reduce_on_plateau
from optix_tricks.transforms._plateau_machine import plateau
from optix_tricks.transforms._radam import radam, scale_by_radam
from optix_tricks.transforms._report import report
from optix_tricks.transforms._rms import rmsprop, scale_by_rms, scale_by_stddev
from optix_tricks.transforms._rotation import equilibrium_rotation, scale_by_rotation
from optix_tricks.transforms._rounding import round_stochastically
from optix_tricks.transforms._sam import sam
from optix_tricks.transforms._skip_nonfinite import skip_nonfinite, skips_steps

__all__ = [
    "accumulate",
    "adabound",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_l1_decay",
    "add_noise",
    "amsgrad",
    "averaged_params",
    "bfgs",
    "centralize",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "clip_by_norm",
    "delayed_gradients",
    "dynamic_loss_scale",
    "ema",
    "ema_of_params",
    "equilibrium_rotation",
    "escape_saddle",
    "group_table",
    "label_by_path",
    "lamb",
    "lars",
    "layerwise_learning_rate_decay",
    "lbfgs",
    "lookahead",
    "loss_scale",
    "master_weights",
    "muon",
    "nadam",
    "nadamw",
    "newton_cg",
    "nonlinear_cg",
    "normalize_weights",
    "observe_plateau",
    "plateau",
    "radam",
    "reduce_on_plateau",
    "report",
    "rmsprop",
    "round_stochastically",
    "sam",
    "scale_by_adabound",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_amsgrad",
    "scale_by_group",
    "scale_by_lars",
    "scale_by_learning_rate",
    "scale_by_nadam",
    "scale_by_newton_schulz",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rotation",
    "scale_by_rss",
    "scale_by_stddev",
    "scale_by_trust_ratio",
    "sgd",
    "skip_nonfinite",
    "skips_steps",
    "swa",
    "trace",
]

check_arguments(__name__)
