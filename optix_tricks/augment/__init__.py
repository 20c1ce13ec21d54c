"""Augmentation: pure functions of a key and a batch of images.

| name | what it does to each image |
|---|---|
| `random_flip` | mirrors it left to right, or not |
| `random_crop` | shifts it by a few pixels, padded by reflection or zeros |
| `cutout` | erases a square |

Images are [batch, height, width, channel], uint8 or floating, and keep their dtype.
Each image draws its own numbers from the one key; give each function a key of its own.
What an image gets depends on the key and on its place in the batch, not on how the
batch is sharded over devices. Inside `jax.pmap` or `jax.shard_map` each device sees a
batch of its own, and needs a key of its own.
"""

from optix_tricks.augment._crop import random_crop
from optix_tricks.augment._cutout import cutout
from optix_tricks.augment._flip import random_flip

__all__ = ["cutout", "random_crop", "random_flip"]
