"""What is done to images in each step, and the views of the final test."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array

from optix_tricks import augment
from optix_tricks.training import RandomResizedCrop
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import as_it_is, trick

Augment = Callable[..., Array]
image = functools.partial(trick, "augment", needs=["images"])


def _grey(context: Context) -> float:
    """The mean level: about zero once the images are normalised."""
    return float(round(255 * float(context.statistics[0].mean())))


crop = image(calls=augment.random_crop, name="crop", place="crop", main="padding")(
    as_it_is
)
flip = image(calls=augment.random_flip, name="flip", place="flip")(as_it_is)
erasing = image(
    calls=augment.random_erasing, name="erasing", place="erase", main="probability"
)(as_it_is)
rand_augment = image(
    calls=augment.rand_augment, name="rand_augment", place="policy", main="magnitude"
)(as_it_is)
trivial_augment = image(
    calls=augment.trivial_augment, name="trivial_augment", place="policy", main="space"
)(as_it_is)


@image(calls=augment.random_resized_crop, place="crop", size=None, main="size")
def resized_crop(context: Context, call: Any) -> Augment:
    """A part of the image, resized; to the size that the images have, or another."""
    given = call.keywords["size"]
    return functools.partial(call, size=given or context.dataset.image_shape[0])


def cropped_on_host(
    parts: Mapping[str, Augment],
) -> tuple[dict[str, Augment], RandomResizedCrop | None]:
    """Take the resized crop out of what is done to images: it is of whole pictures.

    Pictures of many sizes have one only once they are cropped, as they are decoded.
    """
    rest = {name: part for name, part in parts.items() if name != resized_crop.name}
    crop: Any = parts.get(resized_crop.name)
    return rest, None if crop is None else RandomResizedCrop(**crop.keywords)


def _cut(
    context: Context, *, size: int = 8, whole: bool = False, per_channel: bool = False
) -> Augment:
    """Fill with the mean of each channel, or with that of all.

    Args:
      context: of the run.
      size: the square's side in pixels.
      whole: draw no square that reaches over the border.
      per_channel: fill each channel with its own mean.
    """
    means = [round(255 * float(x)) for x in context.statistics[0]]
    fill = means if per_channel else _grey(context)
    return functools.partial(augment.cutout, size=size, whole=whole, fill=fill)


@image(calls=_cut, about=augment.cutout, place="erase", main="size")
def cutout(context: Context, call: Any) -> Augment:
    """A square of grey."""
    return call(context)


@image(
    calls=augment.color_jitter,
    place="colour",
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
)
def colour(context: Context, call: Any) -> Augment:
    """Brightness, contrast and, of three channels, saturation."""
    if context.channels == 1:
        return functools.partial(call, saturation=0.0)
    return call


@image(
    calls=augment.random_rotation,
    place="warp",
    fields=["interpolation"],
    degrees=15.0,
    main="degrees",
)
def rotation(context: Context, call: Any) -> Augment:
    """A turn, with grey in the corners."""
    return functools.partial(call, fill=_grey(context))


@trick(
    "alternate", calls=augment.alternating_flip, place="flip", needs=["images"], fields=()
)
def alternating_flip(context: Context, call: Any) -> Callable[..., Array]:
    """Mirrored in every other epoch."""
    per_epoch = context.steps_per_epoch

    def alternate(key: Array, images: Array, indices: Array, step: Array) -> Array:
        return call(key, images, indices=indices, epoch=step // per_epoch)

    return alternate


view = functools.partial(trick, "views", needs=["images"])
flip_views = view(calls=augment.flip_predict, name="flip_views")(as_it_is)
crop_views = view(calls=augment.multi_crop_predict, name="crop_views", main="shift")(
    as_it_is
)
selective_views = view(
    calls=augment.selective_predict, name="selective_views", main="fraction"
)(as_it_is)
