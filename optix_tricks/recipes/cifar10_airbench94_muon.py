"""airbench94 with Muon: CIFAR-10 to 94 % in eight epochs.

The network and the images of airbench94. The kernels of convolutions take steps of unit
singular values from unit norm; biases and the head take those of momentum SGD.

    optix-tricks train cifar10_airbench94_muon              # 1.97 M parameters
"""

from optix_tricks import tricks
from optix_tricks.recipes._claim import Claim
from optix_tricks.tricks import Setup

CLAIM = Claim(
    result="not yet measured at full width",
    source="Jordan, airbench94_muon, 2024 (94.01 %, n = 200)",
    cost="not yet measured",
)

DATASET = "cifar10"


def setup() -> Setup:
    """Return airbench94's network under Muon."""
    return Setup(epochs=8.0, batch_size=2000).take(
        tricks.airbench(width=64, unit_head=True),
        tricks.whitening(5000),
        tricks.freeze("^whitening/kernel"),
        tricks.settle("^whitening", epochs=3),
        tricks.airbench_muon(0.24),
        tricks.linear,
        tricks.label_smoothing(0.2),
        tricks.alternating_flip,
        tricks.crop(2),
        tricks.crop_views,
    )
