"""ResNet-18 on CIFAR-100 with the step schedules of the literature.

Nesterov momentum in batches of 128, one epoch of warm-up, and the rate divided by 5 at
30, 60 and 80 % of the run (epochs 60, 120, 160 of 200) or by 10 at 50 and 75 % (epochs
150, 225 of 300). No decay on biases and norms, last gammas from zero, label smoothing.

    optix-tricks train cifar100_resnet18                               # 200 epochs
    optix-tricks train cifar100_resnet18 --epochs 300 --factor 0.1 --at 0.5 0.75
    optix-tricks train cifar100_resnet18 --dataset cifar10 --width 8 --epochs 3
"""

from optix_tricks import tricks
from optix_tricks.recipes._claim import Claim
from optix_tricks.tricks import Setup

CLAIM = Claim(
    result="not yet measured on CIFAR-100; 63.9 % on CIFAR-10 in 3 epochs at width "
    "8, one seed",
    source="He et al., Deep residual learning, 2016; schedules: Zagoruyko and "
    "Komodakis, 2016 (200), Huang et al., 2017 (300)",
    cost="not yet measured at width 64; width 8: minutes on two CPU cores",
)

DATASET = "cifar100"


def setup() -> Setup:
    """Return a ResNet-18 and the drops of 200 epochs."""
    return Setup(epochs=200, batch_size=128).take(
        tricks.resnet18(width=64),
        tricks.zero_gamma,
        tricks.nesterov(0.1),
        tricks.warm_up(epochs=1.0),
        tricks.steps(0.2, at=(0.3, 0.6, 0.8)),
        tricks.l2(5e-4),
        tricks.no_bias_decay,
        tricks.label_smoothing(0.1),
        tricks.crop(4),
        tricks.flip,
        tricks.flip_views,
    )
