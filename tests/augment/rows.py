"""The table: every public function of images, one row each.

`call(function, key, images)` calls it as a user would, with settings at which it acts on
every batch; `neutral` is the same at the setting that leaves images alone, or None where
there is none. `size` is the height and width that come out, if not those that went in.
`draws` is False for what draws no random numbers of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from optix_tricks import augment

Call = Callable[[Any, Any, Any], Any]

BATCH, HEIGHT, WIDTH, CHANNEL = 16, 9, 11, 3
LABELS = jnp.arange(BATCH) % 5
DTYPES = [jnp.uint8, jnp.bfloat16, jnp.float16, jnp.float32]


@dataclass(frozen=True)
class Row:
    function: Callable[..., Any]
    call: Call
    neutral: Call | None = None
    size: tuple[int, int] = (HEIGHT, WIDTH)
    draws: bool = True

    def __call__(self, key, images):
        return self.call(self.function, key, images)


def images_of(dtype: Any) -> Any:
    """Random images; floating ones are in [0, 1) and exact in every dtype."""
    shape = (BATCH, HEIGHT, WIDTH, CHANNEL)
    levels = np.random.default_rng(0).integers(0, 256, shape)
    if dtype == jnp.uint8:
        return jnp.asarray(levels, dtype)
    return jnp.asarray(levels / 256, dtype)


def flat(images: Any) -> Any:
    """A prediction with a logit for each pixel, so that `pixels` can unfold it."""
    return images.reshape(images.shape[0], -1)


ROWS = [
    Row(
        augment.adjust_brightness,
        lambda f, key, images: f(images, 1.3),
        neutral=lambda f, key, images: f(images, 1.0),
        draws=False,
    ),
    Row(
        augment.adjust_contrast,
        lambda f, key, images: f(images, 0.6),
        neutral=lambda f, key, images: f(images, 1.0),
        draws=False,
    ),
    Row(
        augment.adjust_saturation,
        lambda f, key, images: f(images, 0.6),
        neutral=lambda f, key, images: f(images, 1.0),
        draws=False,
    ),
    Row(
        augment.alternating_flip,
        lambda f, key, images: f(key, images, indices=jnp.arange(BATCH), epoch=1),
    ),
    Row(
        augment.color_jitter,
        lambda f, key, images: f(
            key, images, brightness=0.3, contrast=0.3, saturation=0.3
        ),
        neutral=lambda f, key, images: f(key, images),
    ),
    Row(
        augment.cutmix,
        lambda f, key, images: f(key, images, LABELS),
        neutral=lambda f, key, images: f(key, images, LABELS, alpha=0),
    ),
    Row(
        augment.cutout,
        lambda f, key, images: f(key, images, size=4),
        neutral=lambda f, key, images: f(key, images, size=0),
    ),
    Row(
        augment.flip_predict,
        lambda f, key, images: f(flat, images).reshape(images.shape),
        draws=False,
    ),
    Row(
        augment.mixup,
        lambda f, key, images: f(key, images, LABELS, alpha=1.0),
        neutral=lambda f, key, images: f(key, images, LABELS, alpha=0),
    ),
    Row(
        augment.multi_crop_predict,
        lambda f, key, images: f(flat, images).reshape(images.shape),
        draws=False,
    ),
    Row(
        augment.rand_augment,
        lambda f, key, images: f(key, images),
        neutral=lambda f, key, images: f(key, images, num_ops=0),
    ),
    Row(
        augment.random_crop,
        lambda f, key, images: f(key, images, padding=3),
        neutral=lambda f, key, images: f(key, images, padding=0),
    ),
    Row(
        augment.random_erasing,
        lambda f, key, images: f(key, images),
        neutral=lambda f, key, images: f(key, images, probability=0),
    ),
    Row(augment.random_flip, lambda f, key, images: f(key, images)),
    Row(
        augment.random_resized_crop,
        lambda f, key, images: f(key, images, size=(5, 7)),
        neutral=lambda f, key, images: f(
            key, images, size=(9, 11), scale=(1, 1), ratio=(11 / 9, 11 / 9)
        ),
        size=(5, 7),
    ),
    Row(
        augment.random_rotation,
        lambda f, key, images: f(key, images, degrees=30),
        neutral=lambda f, key, images: f(key, images, degrees=0),
    ),
    Row(
        augment.resize,
        lambda f, key, images: f(images, 6),
        neutral=lambda f, key, images: f(images, (9, 11)),
        size=(6, 6),
        draws=False,
    ),
    Row(
        augment.selective_predict,
        lambda f, key, images: f(flat, images, fraction=0.5).reshape(images.shape),
        neutral=lambda f, key, images: f(flat, images, fraction=0).reshape(images.shape),
        draws=False,
    ),
    Row(augment.trivial_augment, lambda f, key, images: f(key, images)),
]
