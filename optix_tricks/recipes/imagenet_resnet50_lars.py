"""ResNet-50 on ImageNet in large batches with LARS.

The hyperparameters of MLPerf's reference for 4,096 images a batch: rate 10, five epochs
of warm-up, then a quadratic fall; decay 2e-4, trust coefficient 0.001, label smoothing.
Biases and norms take plain momentum steps without decay.

    optix-tricks train imagenet_resnet50_lars --batch-size 2048 --learning-rate 8.5 \
        --epochs 41
    optix-tricks train imagenet_resnet50_lars --dataset generated --epochs 4 \
        --batch-size 256 --width 8 --warm-up.epochs 1
"""

from optix_tricks import tricks
from optix_tricks.recipes._claim import Claim
from optix_tricks.tricks import Setup

CLAIM = Claim(
    result="not yet measured on ImageNet (MLPerf's target is 75.9 % at 224 pixels); "
    "shown on generated images",
    source="You et al., Large batch training of convolutional networks, 2017; numbers "
    "of MLPerf's reference implementation",
    cost="not yet measured",
)

DATASET = "imagenet_resized/64x64"


def setup() -> Setup:
    """Return a ResNet-50, LARS and a quadratic fall."""
    return Setup(epochs=42, batch_size=4096).take(
        tricks.resnet50(width=64),
        tricks.zero_gamma,
        tricks.bfloat16,
        tricks.lars(10.0, weight_decay=2e-4, trust_coefficient=0.001),
        tricks.warm_up(epochs=5.0),
        tricks.polynomial(end_value=1e-5, power=2.0),
        tricks.label_smoothing(0.1),
        tricks.resized_crop(64),
        tricks.flip,
        tricks.flip_views,
    )
