"""ResNet-50 on ImageNet with momentum and a cosine schedule.

Nesterov momentum, the rate 0.1 for each 256 images of a batch, five epochs of warm-up,
then a half cosine to zero; decay 1e-4 on kernels, last gammas from zero, random resized
crops and flips.

TFDS's imagenet_resized/64x64 by itself; pictures of any sizes are cropped as they are
decoded, and streamed where they do not fit in memory. Generated images show that it runs:

    optix-tricks train imagenet_resnet50 --dataset imagenet2012 --size 224

    optix-tricks train imagenet_resnet50 --dataset generated --epochs 2 \
        --batch-size 64 --width 8 --warm-up.epochs 0
"""

from optix_tricks import tricks
from optix_tricks.recipes._claim import Claim
from optix_tricks.tricks import Setup

CLAIM = Claim(
    result="not yet measured on ImageNet (the source has 76.5 % at 224 pixels); shown on "
    "generated images",
    source="Goyal et al., Accurate, large minibatch SGD, 2017; numbers of Flax's "
    "ImageNet example, 100 epochs",
    cost="not yet measured",
)

DATASET = "imagenet_resized/64x64"


def setup() -> Setup:
    """Return a ResNet-50 and a half cosine; the rate is that of 256 images."""
    return Setup(epochs=100, batch_size=1024).take(
        tricks.resnet50(width=64),
        tricks.zero_gamma,
        tricks.bfloat16,
        tricks.nesterov(0.1),
        tricks.linear_scaling(256),
        tricks.warm_up(epochs=5.0),
        tricks.cosine,
        tricks.l2(1e-4),
        tricks.no_bias_decay,
        tricks.resized_crop(64),
        tricks.flip,
        tricks.flip_views,
    )
