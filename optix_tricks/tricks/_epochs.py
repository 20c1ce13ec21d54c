"""What happens between epochs: a run ends, or the next epoch is another."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from optix_tricks import training
from optix_tricks._checks import check_count, check_fraction, check_positive
from optix_tricks.augment import resize
from optix_tricks.training import EarlyStopping, Job, Phase
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import trick


@trick(
    "stop",
    calls=training.early_stopping,
    main="patience",
    fields=["min_delta", "warmup"],
    needs=["validation"],
    patience=10,
)
def early_stopping(context: Context, call: Any) -> EarlyStopping:
    """The run ends once the validation loss no longer falls; its best epoch is kept."""
    return call()


def _stages(
    epochs: int | float, *, start: float = 0.5, until: float = 0.5, stages: int = 2
) -> list[tuple[int, int, float]]:
    """Return the first epoch of each stage, the first after it, and the images' size.

        size = start + (1 - start) s / stages    in stage s of the run's share `until`

    Helps convolutional nets with global pooling whose run is bound by arithmetic: early
    epochs cost less, by the square of the size. Hurts where objects are small. Does
    little where loading data is what takes the time. Cost: a compilation of the step for
    each stage, and a resizing of the images.

    Beside others: it stands behind all other augmentation. Batch statistics shift with
    the size: leave the last epochs at the full one.

    Args:
      epochs: of the run.
      start: the first stage's share of the images' sides.
      until: the share of the run in which images are smaller.
      stages: how many sizes there are below the full one.

    Source: "FFCV: Accelerating Training by Removing Data Bottlenecks", Leclerc et al.,
    2023.

    Raises:
      ValueError: if a number is out of range, or a stage is shorter than an epoch.
    """
    check_positive("start", start)
    check_fraction("start", start)
    check_fraction("until", until)
    check_count("stages", stages, minimum=1)
    ends = [round(epochs * until * s / stages) for s in range(stages + 1)]
    if len({*ends}) <= stages:
        raise ValueError(
            "progressive_resizing must have a whole epoch for each of its stages, got"
            f" {stages} stages in {until:g} of {epochs:g} epochs."
        )
    sizes = [start + (1 - start) * s / stages for s in range(stages)]
    return list(zip(ends, ends[1:], sizes, strict=False))


@trick("phases", calls=_stages, main="start", needs=["images"])
def progressive_resizing(context: Context, call: Any) -> tuple[Phase, ...]:
    """Images are smaller in the first epochs; those of the test have their size."""
    stages = call(context.epochs)
    _check_takes(context, stages[0][2])
    return tuple(
        Phase(first, functools.partial(_at_size, size=size), until)
        for first, until, size in stages
    )


def _at_size(job: Job, size: float) -> Job:
    """Resize the images after all else that is done to them."""

    def augment(key: Key[Array, ""], images: Array) -> Array:
        if job.augment is not None:
            images = job.augment(key, images)
        return resize(images, _smaller(images.shape[1:3], size))

    return job._replace(augment=augment)


def _smaller(shape: tuple[int, ...], size: float) -> tuple[int, int]:
    height, width = (max(round(size * n), 1) for n in shape)
    return height, width


def _check_takes(context: Context, size: float) -> None:
    """Raise unless the network takes images of the least size."""
    *shape, channels = context.dataset.image_shape
    small = _smaller(tuple(shape), size)
    images = jax.ShapeDtypeStruct((1, *small, channels), jnp.uint8)
    evaluate = functools.partial(context.network.apply, train=False)
    try:
        jax.eval_shape(evaluate, *context.network.init(0), images)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "progressive_resizing needs a network that takes images of"
            f" {small[0]}x{small[1]} pixels: {str(error).splitlines()[0]}"
        ) from error
