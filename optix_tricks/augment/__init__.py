"""Augmentation: pure functions of a key and a batch of images.

| name | what it does to each image |
|---|---|
| `random_flip` | mirrors it left to right, or not |
| `alternating_flip` | mirrors it in every other epoch |
| `random_crop` | shifts it by a few pixels, padded by reflection or zeros |
| `cutout` | erases a square |
| `random_erasing` | replaces a rectangle by noise or a constant |
| `random_resized_crop` | crops a random part and resizes it |
| `resize`, `progressive_sizes` | resizes it; to a size that grows with the epochs |
| `mixup` | blends it with another image, and their labels |
| `cutmix` | pastes a rectangle of another image, and mixes their labels |
| `random_rotation` | turns it by a few degrees |
| `color_jitter` | changes brightness, contrast and saturation |
| `adjust_brightness`, `adjust_contrast`, `adjust_saturation` | one of them, by a factor |
| `rand_augment` | applies a few of fourteen operations, of one magnitude |
| `trivial_augment` | applies one of the fourteen, of a random strength |
| `flip_predict`, `multi_crop_predict` | averages a prediction over its views |
| `selective_predict` | the same where the prediction is uncertain |

Images are [batch, height, width, channel], uint8 or floating, and keep their dtype.
Each image draws its own numbers from the one key; give each function a key of its own.
What an image gets depends on the key and on its place in the batch, not on how the
batch is sharded over devices. Inside `jax.pmap` or `jax.shard_map` each device sees a
batch of its own, and needs a key of its own.
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.augment._alternating_flip import alternating_flip
from optix_tricks.augment._color_jitter import color_jitter
from optix_tricks.augment._colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
)
from optix_tricks.augment._crop import random_crop
from optix_tricks.augment._cutmix import cutmix
from optix_tricks.augment._cutout import cutout
from optix_tricks.augment._flip import random_flip
from optix_tricks.augment._mixed import Mixed
from optix_tricks.augment._mixup import mixup
from optix_tricks.augment._rand_augment import rand_augment
from optix_tricks.augment._random_erasing import random_erasing
from optix_tricks.augment._random_resized_crop import random_resized_crop
from optix_tricks.augment._resize import progressive_sizes, resize
from optix_tricks.augment._rotation import random_rotation
from optix_tricks.augment._test_time import (
    flip_predict,
    multi_crop_predict,
    selective_predict,
)
from optix_tricks.augment._trivial_augment import trivial_augment

__all__ = [
    "Mixed",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_saturation",
    "alternating_flip",
    "color_jitter",
    "cutmix",
    "cutout",
    "flip_predict",
    "mixup",
    "multi_crop_predict",
    "progressive_sizes",
    "rand_augment",
    "random_crop",
    "random_erasing",
    "random_flip",
    "random_resized_crop",
    "random_rotation",
    "resize",
    "selective_predict",
    "trivial_augment",
]

check_arguments(__name__)
