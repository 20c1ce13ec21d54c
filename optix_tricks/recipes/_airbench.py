"""What the airbench recipes share: from their numbers to a job."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Key

import optix_tricks as ot
from optix_tricks._tree import PyTree
from optix_tricks.augment import (
    alternating_flip,
    cutout,
    multi_crop_predict,
    random_crop,
)
from optix_tricks.initializers import patch_whitening
from optix_tricks.recipes._airbench_network import Airbench
from optix_tricks.recipes._classification import make_job
from optix_tricks.recipes._contract import check_config
from optix_tricks.schedules import lookahead_schedule
from optix_tricks.training import (
    Apply,
    Dataset,
    Job,
    Settled,
    lookahead_statistics,
    normalize,
    on_slow_weights,
    policy,
    steps_per_epoch,
    total_steps,
)

SYNC_PERIOD = 5  # steps between the synchronisations of the lookahead
WHITENED = 5000  # images from which the first kernel comes

groups = ot.label_by_path(
    {
        "^whitening/kernel": "frozen",
        "^whitening/bias": "whitening",
        "norm": "norms",
        "^head": "head",
        "": "filters",
    }
)


def make_airbench_job(
    config: Any,
    dataset: Dataset,
    tx: optax.GradientTransformation,
    *,
    lookahead: bool,
    **of_network: Any,
) -> Job:
    """Whiten, flip in turns, crop, smooth the labels; test on six views.

    Args:
      config: of one of the recipes.
      dataset: of images of at least 16x16 pixels.
      tx: the recipe's chain, for float32 gradients of the mean loss.
      lookahead: whether `tx` is one; the statistics then take part in it.
      **of_network: arguments of `Airbench`.
    """
    check_config(config, dataset)
    mean, std = dataset.channel_statistics()
    grey = [round(255 * float(x)) for x in mean]
    preprocess = normalize(jnp.asarray(mean), jnp.asarray(std))
    first = jnp.asarray(dataset.train.inputs[:WHITENED])
    model = Airbench(
        dataset.num_classes,
        whitening=jax.jit(lambda images: patch_whitening(preprocess(images)))(first),
        dtype=policy(config.compute_dtype).compute,
        rngs=nnx.Rngs(config.seed),
        **of_network,
    )
    size = dataset.train.size
    per_epoch = steps_per_epoch(size, config.batch_size)

    def alternate(key: Array, images: Array, indices: Array, step: Array) -> Array:
        return alternating_flip(key, images, indices=indices, epoch=step // per_epoch)

    def augment(key: Key[Array, ""], images: Array) -> Array:
        for_crop, for_cutout = jax.random.split(key)
        images = random_crop(for_crop, images, padding=config.padding)
        return cutout(for_cutout, images, size=config.cutout, fill=grey, whole=True)

    job = make_job(config, dataset, model, tx, augment=augment, flip=False)
    if config.flip:
        job = job._replace(alternate=alternate, test_views=multi_crop_predict)
    if lookahead:
        apply, batch_stats = lookahead_statistics(
            job.apply,
            job.batch_stats,
            sync_period=SYNC_PERIOD,
            slow_step_size=lookahead_schedule(
                total_steps(config.epochs, size, config.batch_size)
            ),
        )
        job = job._replace(apply=apply, batch_stats=batch_stats, tested=on_slow_weights)
    settled = Settled(config.whitening_bias_epochs, _first_layer_fixed(job.apply))
    return job._replace(settled=settled)


def _first_layer_fixed(apply: Apply) -> Apply:
    """Spare the gradient of the first groups' inputs, which only that layer needs."""

    def fixed(params: PyTree, *args: Any, **options: Any) -> tuple[Any, PyTree]:
        whitening = jax.lax.stop_gradient(params["whitening"])
        return apply(params | {"whitening": whitening}, *args, **options)

    return fixed


def whitening_steps(config: Any, steps: int) -> int:
    """For how many of a run's steps the bias of the whitening is trained."""
    return config.whitening_bias_epochs * int(steps / config.epochs)
