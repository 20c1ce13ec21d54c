"""The test images that a run was most wrong about, and those that it was surest of."""

import io

import numpy as np

from optix_tricks._files import replace_file
from optix_tricks.training._dataset import Dataset
from optix_tricks.training._epoch import Evaluation
from optix_tricks.training._run_directory import RunDirectory, explained

WORST, BEST = 24, 8
CHANNELS = (1, 3)
NAME = "examples.npz"


def write_examples(run: RunDirectory, found: Evaluation, dataset: Dataset) -> None:
    """Write the images of the highest and of the lowest test loss, the worst first.

    `examples.npz` has `images`, uint8 [n, height, width, channel], and of each the
    `index` in the test set, the class that it `is`, the one that was `told`, the `loss`.
    There is none where inputs are no images, or nothing is told of each example.
    """
    images, weights = dataset.test.inputs, dataset.test.weights
    is_images = getattr(images, "ndim", 0) == 4 and images.dtype == np.uint8
    if found.each is None or not is_images or images.shape[-1] not in CHANNELS:
        return
    told, loss = (np.array(column) for column in zip(*found.each, strict=True))
    order = np.argsort(-np.nan_to_num(loss, nan=np.inf), kind="stable")
    if weights is not None:
        order = order[np.asarray(weights)[order] != 0]
    chosen = np.concatenate([order[:WORST], order[WORST:][-BEST:]])
    content = io.BytesIO()
    np.savez_compressed(
        content,
        images=np.asarray(images[chosen]),
        index=chosen,
        **{"is": np.asarray(dataset.test.targets)[chosen]},
        told=told[chosen],
        loss=loss[chosen],
    )
    if run.writes:
        with explained(run.path):
            replace_file(run.path / NAME, content.getvalue())
