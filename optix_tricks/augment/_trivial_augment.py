"""TrivialAugment: one random operation an image, of a random strength."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from optix_tricks.augment._images import Fill, Images
from optix_tricks.augment._rand_augment_ops import (
    OPERATIONS,
    Space,
    check_operands,
    operate_on,
)
from optix_tricks.augment._warp import Interpolation

STRENGTHS = 31  # 0, ..., 30


def trivial_augment(
    key: PRNGKeyArray,
    images: Images,
    *,
    space: Literal["wide", "ra"] = "wide",
    interpolation: Interpolation = "nearest",
    fill: Fill = 0.0,
) -> Images:
    """Apply to each image one operation of fourteen, of a strength of its own.

        out = op(image, ±m),    op uniform over the table, m over 0, ..., 30, ± even

    | operation | space "wide" | space "ra" |
    |---|---|---|
    | identity, autocontrast, equalize | nothing to set | |
    | shear-x, shear-y | by ±0.033 m, about the upper left corner | ±0.01 m |
    | translate-x, translate-y | by ±32 m / 30 pixels, whole | ±m / 96 of the side |
    | rotate | by ±4.5 m degrees | ±m |
    | brightness, color, contrast, sharpness | factor 1 ± 0.033 m | 1 ± 0.03 m |
    | posterize | the upper 8 - 6 m / 30 bits, rounded | 8 - 4 m / 30 |
    | solarize | levels from 255 - 8.5 m up are inverted | the same |

    Both spaces are the paper's, in torchvision's form: "wide" is the table of its
    TrivialAugmentWide, and factors are mirrored about 1, where the paper's code spreads
    the strengths over 0.01 to 2, or 0.1 to 1.9. Each operation is Pillow's, as in
    `rand_augment`. Floating images are in [0, 1] and not normalised yet: they are rounded
    to 256 levels first, and carry no gradient.

    Helps long runs, large nets and large data, where RandAugment has two numbers to
    search for; its authors find it no worse than policies that were searched for. Hurts
    short runs and small nets, which underfit, and where colour or orientation is the
    label, or a turn by 135 degrees makes another class; "wide" moves an image of 32 x 32
    out of sight at the end of its range. Cost: seven passes over the images, one of them
    with a histogram.

    Beside others: in the place of `rand_augment`: after `random_flip` and `random_crop`,
    before normalisation, then `cutout` or `random_erasing`.

    Args:
        key: a PRNG key, used for nothing else.
        images: [batch, height, width, channel], uint8, or floating in [0, 1]; of three
            channels or one.
        space: "wide", or "ra", RandAugment's narrower ranges.
        interpolation: of shears, translations and turns, "nearest" or "bilinear".
        fill: what comes in from outside, one value for all channels or one for each.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` have another rank, dtype or number of channels, `space` or
            `interpolation` is unknown, or `fill` is not a value that uint8 images can
            take.

    Examples:
        >>> images = jnp.tile(jnp.array([50, 90, 130, 250], jnp.uint8), 5)
        >>> images = images.reshape(5, 1, 4, 1)
        >>> print(trivial_augment(jax.random.key(19), images)[:, 0, :, 0])
        [[ 50  90 130   5]
         [ 50  90 130 250]
         [ 50  90 130 250]
         [ 32  64 128 224]
         [113 121 130 154]]

    Source: "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", Mueller
    and Hutter, 2021.
    """
    check_operands(images, fill)
    _, height, width, _ = images.shape
    spaces = {
        "wide": Space(0.99, (32.0, 32.0), 135.0, 0.99, 6),
        "ra": Space(0.3, (10 / 32 * height, 10 / 32 * width), 30.0, 0.9, 4),
    }
    outcomes = len(OPERATIONS) * STRENGTHS * 2
    draws = jax.random.randint(key, (images.shape[0], 1), 0, outcomes)
    operations, rest = draws // (STRENGTHS * 2), draws % (STRENGTHS * 2)
    signed = ((rest // 2) * (1 - 2 * (rest % 2))).astype(jnp.float32)
    return operate_on(
        images,
        operations,
        signed,
        space=spaces[space],
        interpolation=interpolation,
        fill=fill,
    )
