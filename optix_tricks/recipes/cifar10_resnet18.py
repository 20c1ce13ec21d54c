"""ResNet-18 on CIFAR-10 with a cosine schedule.

Nesterov momentum in batches of 128, a short warm-up, then a half cosine to zero; crops,
flips, no decay on biases and norms, last gammas from zero, label smoothing.

    optix-tricks train cifar10_resnet18
    optix-tricks train cifar10_resnet18 --width 8 --epochs 3           # on a CPU
"""

from optix_tricks import tricks
from optix_tricks.recipes._claim import Claim
from optix_tricks.tricks import Setup

CLAIM = Claim(
    result="not yet measured at width 64; 69.1 % in 3 epochs at width 8, one seed",
    source="He et al., Deep residual learning, 2016; Loshchilov and Hutter, SGDR, 2017",
    cost="not yet measured at width 64; width 8: 580 s on two shared CPU cores",
)

DATASET = "cifar10"


def setup() -> Setup:
    """Return a ResNet-18 and a half cosine."""
    return Setup(epochs=100, batch_size=128).take(
        tricks.resnet18(width=64),
        tricks.zero_gamma,
        tricks.nesterov(0.1),
        tricks.warm_up(0.05),
        tricks.cosine,
        tricks.l2(5e-4),
        tricks.no_bias_decay,
        tricks.label_smoothing(0.1),
        tricks.crop(4),
        tricks.flip,
        tricks.cutout(8),
        tricks.flip_views,
    )
