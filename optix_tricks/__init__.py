"""The tricks that make neural networks train, in JAX: proven, measured, composable.

Gradient transformations and schedules are plain `optax` citizens: compose them with
`optax.chain`. The compiled training step, data and recipes live in
`optix_tricks.training` and `optix_tricks.recipes`, which import Flax; this module does
not, and JAX only when the first name is asked for: the command line answers without it.
"""

# ruff: noqa: F403, F405

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optix_tricks._public import *

__version__ = "0.2.0"

__all__ = [
    "Packed",
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
    "hidden_matrices",
    "label_by_path",
    "lamb",
    "lars",
    "layerwise_learning_rate_decay",
    "lbfgs",
    "lookahead",
    "loss_scale",
    "mask_by_path",
    "mask_by_rank",
    "master_weights",
    "muon",
    "nadam",
    "nadamw",
    "newton_cg",
    "no_bias_or_norm",
    "no_last_layer",
    "nonlinear_cg",
    "normalize_weights",
    "observe_plateau",
    "pack",
    "pack_like",
    "per_buffer",
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
    "unpack",
]


def __getattr__(name: str) -> Any:
    """Import all public names when the first is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    public = vars(importlib.import_module("optix_tricks._public"))
    globals().update({each: public[each] for each in __all__})
    importlib.import_module("optix_tricks._arguments").check_arguments(__name__)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
