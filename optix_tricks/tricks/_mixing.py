"""Two examples in one."""

import functools
from typing import Any

import jax
from jaxtyping import Array, Key

from optix_tricks import augment
from optix_tricks.training import Mix
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import trick

mixes = functools.partial(trick, "mix", needs=["images", "classes"])


def _dense(context: Context, call: Any) -> Mix:
    """Give the loss the shares of both classes."""

    def mix(key: Key[Array, ""], images: Array, labels: Array) -> tuple[Array, Array]:
        mixed = call(key, images, labels)
        return mixed.images, mixed.dense(context.classes)

    return mix


mixup = mixes(calls=augment.mixup, name="mixup", main="alpha")(_dense)
cutmix = mixes(calls=augment.cutmix, name="cutmix", main="alpha")(_dense)


def _either(
    key: Key[Array, ""],
    images: Array,
    labels: Array,
    *,
    share: float = 0.5,
    mixup_alpha: float = 0.2,
    cutmix_alpha: float = 1.0,
) -> augment.Mixed:
    """Mix a batch by mixup in a share of the steps and by CutMix in the others.

        out = mixup(x)     with probability share
            = cutmix(x)    otherwise

    Helps long runs of large nets, where either does. Hurts short runs and small nets, as
    both do. Cost: that of the one that is drawn.

    Beside others: instead of `mixup` and `cutmix`, and after all other augmentation; use
    less of `label_smoothing`.

    Args:
      key: a PRNG key, used for nothing else.
      images: [batch, height, width, channel].
      labels: [batch].
      share: of the steps with mixup.
      mixup_alpha: see `mixup`.
      cutmix_alpha: see `cutmix`.

    Source: "Training Data-Efficient Image Transformers & Distillation through Attention",
    Touvron et al., 2021.
    """
    for_choice, for_mix = jax.random.split(key)
    return jax.lax.cond(
        jax.random.uniform(for_choice) < share,
        lambda: augment.mixup(for_mix, images, labels, alpha=mixup_alpha),
        lambda: augment.cutmix(for_mix, images, labels, alpha=cutmix_alpha),
    )


mix_either = mixes(calls=_either, name="mix_either", main="share")(_dense)
