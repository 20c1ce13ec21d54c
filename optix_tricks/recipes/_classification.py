"""What the recipes for image classification share: from their numbers to a job."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Key

from optix_tricks.augment import (
    cutmix,
    cutout,
    flip_predict,
    mixup,
    random_crop,
    random_flip,
)
from optix_tricks.layers import unopened_bounds
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Augment,
    Dataset,
    Job,
    Mix,
    functional,
    normalize,
    policy,
    total_steps,
)


def make_job(
    config: Any,
    dataset: Dataset,
    model: nnx.Module,
    tx: optax.GradientTransformation,
    *,
    augment: Augment,
    mix: Mix | None = None,
    flip: bool,
    checkpoint_every: int = 1,
) -> Job:
    """Normalise the images, smooth the labels, and run the network at its precision.

    Args:
      config: with `epochs`, `batch_size`, `label_smoothing`, `seed` and, for the loss
        scale of float16, `compute_dtype`.
      dataset: gives the mean and deviation of its channels.
      model: takes `images`, with `train=` or without.
      tx: the recipe's chain, for float32 gradients.
      augment: of the images.
      mix: of images and labels, after it.
      flip: average the final test over mirror images.
      checkpoint_every: epochs.
    """
    steps = total_steps(config.epochs, dataset.train.size, config.batch_size)
    if closed := unopened_bounds(model, steps):
        warnings.warn(
            f"the run ends after {steps} steps, before the bounds of {len(closed)}"
            f" BatchRenorm, such as {closed[0]}, open: they are plain batch norms; give"
            f" them those of renorm_bounds({steps}).",
            stacklevel=2,
        )
    precision = policy(getattr(config, "compute_dtype", "float32"))
    mean, std = dataset.channel_statistics()
    image = jax.ShapeDtypeStruct((1, *dataset.image_shape), jnp.uint8)
    jax.eval_shape(augment, jax.random.key(0), image)  # raises before anything is made
    apply, params, batch_stats = functional(
        model,
        preprocess=normalize(jnp.asarray(mean), jnp.asarray(std)),
        output_dtype=precision.output,
    )

    def loss(logits: Array, labels: Array) -> Array:
        return cross_entropy(logits, labels, label_smoothing=config.label_smoothing)

    return Job(
        apply=apply,
        params=params,
        batch_stats=batch_stats,
        loss=loss,
        tx=precision.optimizer(tx),
        augment=augment,
        mix=mix,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=config.seed,
        test_loss=cross_entropy,
        test_views=flip_predict if flip else None,
        checkpoint_every=checkpoint_every,
    )


def make_small_image_job(
    config: Any, dataset: Dataset, model: nnx.Module, tx: optax.GradientTransformation
) -> Job:
    """Make a job with crops, flips and cutout, and mixup or CutMix where asked for.

    Args:
      config: with what `make_job`, `crop_flip_cutout` and `mixup_or_cutmix` read.
      dataset: see there.
      model: see there.
      tx: the recipe's chain.
    """
    return make_job(
        config,
        dataset,
        model,
        tx,
        augment=crop_flip_cutout(config, dataset),
        mix=mixup_or_cutmix(config, dataset),
        flip=config.flip,
    )


def crop_flip_cutout(config: Any, dataset: Dataset) -> Augment:
    """Return the augmentation of small images.

    Args:
      config: with `padding`, `flip` and `cutout`.
      dataset: its mean is the grey of the cut out square, about zero once normalised.
    """
    grey = round(255 * float(dataset.channel_statistics()[0].mean()))

    def augment(key: Key[Array, ""], images: Array) -> Array:
        for_crop, for_flip, for_cutout = jax.random.split(key, 3)
        images = random_crop(for_crop, images, padding=config.padding)
        if config.flip:
            images = random_flip(for_flip, images)
        return cutout(for_cutout, images, size=config.cutout, fill=grey)

    return augment


def mixup_or_cutmix(config: Any, dataset: Dataset) -> Mix | None:
    """Return the mixing of images and labels, None if there is none.

    Args:
      config: with `mixup` and `cutmix`, the alphas, 0 for none; one of them at most.
      dataset: gives the number of classes.
    """
    if not config.mixup and not config.cutmix:
        return None
    mixing, alpha = (mixup, config.mixup) if config.mixup else (cutmix, config.cutmix)

    def mix(key: Key[Array, ""], images: Array, labels: Array) -> tuple[Array, Array]:
        mixed = mixing(key, images, labels, alpha=alpha)
        return mixed.images, mixed.dense(dataset.num_classes)

    return mix
