"""PyTorch's optimisers, schedulers and clipping, by their names and arguments.

The arguments are those of `torch.optim`, in their order and with their defaults, without
`params`, and each optimiser goes PyTorch's way. A scheduler takes the rate in place of
the optimiser and returns a schedule, which is then given to the optimiser as `lr`; its
steps are updates. All hyperparameters of an optimiser may be schedules.

    torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)   SGD(lr=0.1, momentum=0.9)
    torch.optim.lr_scheduler.StepLR(optimizer, 30)              SGD(lr=StepLR(0.1, 30))

Left out is what says how PyTorch computes, and not what: `foreach`, `fused`,
`capturable`, `differentiable`. Moments are float32 for 16-bit parameters, where PyTorch
keeps them in 16 bits.
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.compat.torch._adam import Adam, AdamW
from optix_tricks.compat.torch._adam_kin import Adamax, NAdam, RAdam
from optix_tricks.compat.torch._adaptive import Adadelta, Adagrad, RMSprop
from optix_tricks.compat.torch._asgd import ASGD
from optix_tricks.compat.torch._clip import clip_grad_norm_, clip_grad_value_
from optix_tricks.compat.torch._cycles import CycledLR, CyclicLR, OneCycleLR
from optix_tricks.compat.torch._decays import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    MultiStepLR,
    StepLR,
)
from optix_tricks.compat.torch._lbfgs import LBFGS
from optix_tricks.compat.torch._plateau import ReduceLROnPlateau
from optix_tricks.compat.torch._sgd import SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CycledLR",
    "CyclicLR",
    "ExponentialLR",
    "MultiStepLR",
    "NAdam",
    "OneCycleLR",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
]

check_arguments(
    __name__,
    called={
        "learning_rate": "lr",
        "init_value": "lr",
        "max_delta": "clip_value",
        "memory_size": "history_size",
        "b1": "betas[0]",
        "b2": "betas[1]",
        "decay": "alpha rho momentum",
        "base_value": "base_momentum",
        "max_value": "max_momentum",
        "decay_rate": "gamma",
    },
)
