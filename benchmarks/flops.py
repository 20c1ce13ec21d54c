"""Arithmetic of a training step of ResNet-50."""

from collections.abc import Sequence


def training_flops(
    image_size: int, width: int, classes: int, stages: Sequence[int] = (3, 4, 6, 3)
) -> int:
    """Operations of one image: two for each multiply-add, three passes.

    Multiply-adds of convolutions and of the head; the two passes backward cost as much
    as the one forward each.

    >>> training_flops(224, 64, 1000) / 3 / 2 / 1e9
    4.089184256
    """
    side = _halved(image_size)
    macs = side**2 * 7 * 7 * 3 * width
    side, features = _halved(side), width
    for stage, blocks in enumerate(stages):
        inner = width * 2**stage
        for i in range(blocks):
            macs += side**2 * features * inner
            if stage > 0 and i == 0:
                side = _halved(side)
            macs += side**2 * inner * (9 * inner + 4 * inner)
            if i == 0:  # the shortcut
                macs += side**2 * features * 4 * inner
            features = 4 * inner
    return 3 * 2 * (macs + features * classes)


def _halved(side: int) -> int:
    return -(-side // 2)
