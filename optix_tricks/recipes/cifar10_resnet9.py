"""Page's ResNet-9 on CIFAR-10; a narrow one trains on two CPU cores.

Momentum SGD with Nesterov, warm-up and linear fall, coupled decay on kernels only, label
smoothing; reflect-padded crops, flips and cutout, all inside the compiled step.

    optix-tricks train cifar10_resnet9                      # 6.57 M parameters
    optix-tricks train cifar10_resnet9 --width 16           # 0.41 M parameters
"""

from optix_tricks import tricks
from optix_tricks.recipes._claim import Claim
from optix_tricks.tricks import Setup

CLAIM = Claim(
    result="89.8 % with --width 16 --batch-size 256 --without cutout, one seed; "
    "width 64 not yet measured",
    source="Page, How to train your ResNet, 2018 (dawn.py)",
    cost="1,334 s of training on two shared CPU cores at width 16",
)

DATASET = "cifar10"


def setup() -> Setup:
    """Return Page's network and its one cycle."""
    return Setup(epochs=10, batch_size=512).take(
        tricks.resnet9(width=64),
        tricks.nesterov(0.4),
        tricks.warm_up(0.2),
        tricks.linear,
        tricks.l2(5e-4),
        tricks.no_bias_decay,
        tricks.label_smoothing(0.1),
        tricks.crop(4),
        tricks.flip,
        tricks.cutout(8),
        tricks.flip_views,
    )
