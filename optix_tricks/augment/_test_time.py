"""Test-time augmentation: a prediction averaged over views of the image.

`predict` is any function from images to logits, one row for each image, such as a model
with its parameters filled in. Averages are taken in float32 (float64 for float64
logits) and returned in the dtype of the logits.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._checks import check_count, check_fraction
from optix_tricks._tree import wide_dtype
from optix_tricks.augment._images import Images, check_images

Predict = Callable[[Any], Any]


def flip_predict(predict: Predict, images: Images) -> Array:
    """Average the prediction over each image and its mirror.

        logits = ½ f(x) + ½ f(mirror(x))

    Helps nets trained with `random_flip`, whose prediction still depends on the side, at
    no training cost. Does little for one that is symmetric already; hurts where left and
    right are different classes, as in digits and text. Cost: two predictions.

    Beside others: say of an accuracy whether it has it: figures with and without are not
    comparable.

    Args:
        predict: f, from images to logits, [batch, ...].
        images: [batch, height, width, channel], uint8 or floating, as f takes them.

    Returns:
        Logits of the shape and dtype that f returns.

    Raises:
        ValueError: if `images` have another rank or dtype.

    Examples:
        >>> def left_column(images):
        ...     return images[:, :, 0, 0]
        >>> images = jnp.array([1.0, 2.0, 5.0]).reshape(1, 1, 3, 1)
        >>> print(flip_predict(left_column, images))
        [[3.]]

    Source: "Very Deep Convolutional Networks for Large-Scale Image Recognition", Simonyan
    and Zisserman, 2015, section 3.2 (of probabilities; f may return these).
    """
    check_images(images)
    return _average(predict, [(0.5, images), (0.5, images[:, :, ::-1])])


def multi_crop_predict(predict: Predict, images: Images, *, shift: int = 1) -> Array:
    """Average the prediction over six views: three places, each with its mirror.

        logits = ½ g(x) + ¼ g(x moved up and left) + ¼ g(x moved down and right)
        g(x) = ½ f(x) + ½ f(mirror(x))

    The moved views are crops of the image padded by reflection. With `shift=0` it is
    `flip_predict`.

    Helps nets trained with `random_flip` and `random_crop`: added to its author's recipe
    it takes 94 % on CIFAR-10 from 12 epochs to 10.8. Does little for a net that pools
    over all places; hurts where left and right are different classes. Cost: six
    predictions, one after the other; inside of `jax.jit` the compiler sees f six times.

    Beside others: `selective_predict` spends it on the uncertain images alone.

    Args:
        predict: f, from images to logits, [batch, ...].
        images: [batch, height, width, channel], uint8 or floating, as f takes them.
        shift: by how many pixels the views are moved; less than the images' sides.

    Returns:
        Logits of the shape and dtype that f returns.

    Raises:
        ValueError: if `images` have another rank or dtype, or `shift` is not a whole
            number of at least zero and below the images' height and width.

    Examples:
        >>> def left_column(images):
        ...     return images[:, :, 0, 0]
        >>> images = jnp.array([[1.0, 2.0, 5.0]] * 3).reshape(1, 3, 3, 1)
        >>> print(multi_crop_predict(left_column, images))
        [[2.5 2.5 2.5]]

    Source: "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", Jordan, 2024, section 3.5,
    with its shift and its weights.
    """
    check_images(images)
    check_count("shift", shift)
    _, height, width, _ = images.shape
    if shift >= min(height, width):
        raise ValueError(
            f"shift must be below the image's {min(height, width)} pixels to be"
            f" reflected, got {shift}."
        )
    sides = (shift, shift)
    padded = jnp.pad(images, ((0, 0), sides, sides, (0, 0)), mode="reflect")
    places = [
        (0.5, images),
        (0.25, padded[:, 2 * shift :, 2 * shift :]),
        (0.25, padded[:, :height, :width]),
    ]
    views = [(w / 2, view) for w, x in places for view in (x, x[:, :, ::-1])]
    return _average(predict, views)


def selective_predict(
    predict: Predict,
    images: Images,
    *,
    fraction: float | int = 0.25,
    augmented: Callable[[Predict, Any], Any] = multi_crop_predict,
) -> Array:
    """Average over views for the least certain images, and predict the others once.

        p(x) = max_k softmax(f(x))_k
        logits(x) = augmented(f, x)    for the round(fraction · batch) smallest p
                  = f(x)               elsewhere

    Views change the class of an image mostly where it was uncertain. At `fraction=0` it
    is f, at 1 it is `augmented`. The share is of the batch given, so that all images are
    compared where all are given at once. On a mesh of explicit axes the chosen must
    divide over it as the images do.

    Helps wherever `augmented` does, for less. Hurts calibration, since some logits are
    averages and others are not. Does little where most images are uncertain. Cost: one
    prediction of the batch, and those of `augmented` for its fraction: 2.5 rather than 6
    by default.

    Beside others: its views may be those of `flip_predict` too, or of any function of
    `predict` and images.

    Args:
        predict: f, from images to logits, [batch, classes], of any number of images.
        images: [batch, height, width, channel], uint8 or floating, as f takes them.
        fraction: the share that is predicted again, in [0, 1]; static.
        augmented: a function of f and images, such as `flip_predict`.

    Returns:
        Logits, [batch, classes], of the dtype that f returns.

    Raises:
        ValueError: if `images` have another rank or dtype, `fraction` is not in [0, 1],
            or f does not return [batch, classes].

    Examples:
        >>> def two_pixels(images):
        ...     return images[:, 0, :, 0]
        >>> images = jnp.array([[8.0, 0.0], [1.0, 0.0]]).reshape(2, 1, 2, 1)
        >>> half = selective_predict(
        ...     two_pixels, images, fraction=0.5, augmented=flip_predict
        ... )
        >>> print(half)
        [[8. 0. ]
         [0.5 0.5]]

    Source: "cifar10-speedrun", Hiverge, 2025, which has had a quarter and a fifth, and
    weighs its six views equally.
    """
    check_images(images)
    check_fraction("fraction", fraction)
    images = jnp.asarray(images)
    logits = jnp.asarray(predict(images))
    batch = images.shape[0]
    if logits.ndim != 2 or logits.shape[0] != batch:
        raise ValueError(
            f"predict must return [batch, classes] for {batch} images,"
            f" got shape {list(logits.shape)}."
        )
    count = round(fraction * batch)
    if count == 0:
        return logits
    wide = logits.astype(wide_dtype(logits.dtype))
    uncertainty = jax.nn.logsumexp(wide, axis=-1) - jnp.max(wide, axis=-1)  # -log p

    def choose(uncertainty: Array, images: Array) -> tuple[Array, Array]:
        _, chosen = jax.lax.top_k(uncertainty, count)
        return chosen, images[chosen]

    def replace(logits: Array, chosen: Array, again: Array) -> Array:
        return logits.at[chosen].set(again.astype(logits.dtype))

    sharding, of_logits = jax.typeof(images).sharding, jax.typeof(logits).sharding
    everywhere = jax.NamedSharding(sharding.mesh, jax.P(None))
    gather = jax.sharding.auto_axes(choose, out_sharding=(everywhere, sharding))
    chosen, doubtful = gather(uncertainty, images)
    again = jnp.asarray(augmented(predict, doubtful))
    if again.shape != (count, *logits.shape[1:]):
        raise ValueError(
            f"augmented must return [batch, classes] for {count} images,"
            f" got shape {list(again.shape)}."
        )
    scatter = jax.sharding.auto_axes(replace, out_sharding=of_logits)
    return scatter(logits, chosen, again)


def _average(predict: Predict, views: list[tuple[float, Array]]) -> Array:
    predictions = [(weight, jnp.asarray(predict(view))) for weight, view in views]
    dtype = predictions[0][1].dtype
    wide = wide_dtype(dtype)
    total: Any = sum(weight * y.astype(wide) for weight, y in predictions)
    return total.astype(dtype)
