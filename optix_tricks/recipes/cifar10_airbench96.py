"""airbench96: CIFAR-10 to 96 % in 37 epochs, some ten seconds of an accelerator.

The recipe of airbench94 with wider groups of three convolutions, the last two of each a
residual branch, larger shifts, and squares that are blanked out.

    optix-tricks train cifar10_airbench96                   # 9.92 M parameters
"""

from optix_tricks import tricks
from optix_tricks.recipes import cifar10_airbench94
from optix_tricks.recipes._claim import Claim
from optix_tricks.tricks import Setup

CLAIM = Claim(
    result="not yet measured",
    source="Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024 (96.03 %, "
    "n = 400)",
    cost="not yet measured",
)

DATASET = "cifar10"


def setup() -> Setup:
    """Return airbench94's setup with what differs."""
    return (
        cifar10_airbench94.setup()
        .take(
            tricks.airbench(width=128, multiples=(1, 3, 4), convs=3, norm_momentum=0.9),
            tricks.airbench_sgd(9.0, momentum=0.85, weight_decay=0.012, bias_scale=64.0),
            tricks.warm_up(0.1, init_value=0.2),
            tricks.linear(end_value=0.0),
            tricks.crop(4),
            tricks.cutout(12, whole=True, per_channel=True),
        )
        .change(epochs=37.0)
    )
