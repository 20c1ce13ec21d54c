"""Folders of small pictures of many sizes and forms, and a job that trains on them."""

import jax.numpy as jnp
import numpy as np
import optax
import PIL.Image

from optix_tricks.losses import cross_entropy
from optix_tricks.training import Job, RandomResizedCrop

SIZE = 8
COUNTS = {"train": 12, "test": 5}  # of each class


def write_folder(root, counts=COUNTS, classes=("cat", "dog"), seed=0):
    """JPEGs, and a PNG of each mode; dogs are brighter."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for label, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                shape = (*rng.integers(10, 40, 2), 3)
                pixels = (rng.integers(0, 128, shape) + 120 * label).astype(np.uint8)
                picture = PIL.Image.fromarray(pixels)
                if i < 3:
                    picture.convert(("L", "RGBA", "P")[i]).save(folder / f"{i:02}.png")
                else:
                    picture.save(folder / f"{i:02}.jpg", quality=95)
    return root


def linear(params, batch_stats, images, *, train, key=None):
    del train, key
    x = jnp.reshape(images, (len(images), -1)).astype(jnp.float32) / 255
    return x @ params["w"], batch_stats


def picture_job(**changes):
    """Four steps an epoch of 24 pictures, two left over of six."""
    job = Job(
        apply=linear,
        params={"w": jnp.zeros((SIZE * SIZE * 3, 2))},
        batch_stats={},
        loss=cross_entropy,
        tx=optax.sgd(0.01),
        augment=None,
        epochs=2,
        batch_size=6,
        seed=0,
        test_loss=cross_entropy,
        crop=RandomResizedCrop(SIZE),
    )
    return job._replace(**changes)
