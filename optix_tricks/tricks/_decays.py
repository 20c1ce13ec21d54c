"""Decay: into the loss, into the gradient, or beside the gradient; and of what."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import optax

import optix_tricks as ot
from optix_tricks import losses
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import trick

Link: TypeAlias = optax.GradientTransformation


@trick(
    "before",
    calls=ot.add_decayed_weights,
    main="weight_decay",
    place="decay",
    weight_decay=5e-4,
)
def l2(context: Context, call: Any) -> Link:
    """The gradient of half the squared weights, before the optimiser rescales it."""
    return call(mask=context.decay_mask)


def _penalised(params: Any, *, weight: float = 1e-5, mask: Any = None) -> Any:
    """Return the weight times the sum of the parameters' sizes.

    Args:
      params: a tree of arrays.
      weight: of the penalty in the loss.
      mask: which leaves are penalised.
    """
    return weight * losses.l1_penalty(params, mask=mask)


@trick(
    "penalties",
    calls=_penalised,
    about=losses.l1_penalty,
    main="weight",
    place="weights",
)
def l1(context: Context, call: Any) -> Callable[[Any], Any]:
    """The sizes of the weights, in the loss."""
    return functools.partial(call, mask=context.decay_mask)


def _beside(rate: optax.Schedule, mask: Any, *, weight_decay: float = 0.01) -> Link:
    """Take w - η λ w in each update, η the learning rate and λ the decay.

    Args:
      rate: η.
      mask: which leaves decay.
      weight_decay: λ.
    """
    return ot.add_decayed_weights(lambda count: -weight_decay * rate(count), mask=mask)


@trick(
    "after",
    calls=_beside,
    about=ot.add_decayed_weights,
    main="weight_decay",
    place="decay",
)
def decoupled_decay(context: Context, call: Any) -> Link:
    """The weights shrink by rate times decay, whatever the optimiser does."""
    return call(context.rate, context.decay_mask)


@trick("decay_mask", calls=ot.no_bias_or_norm)
def no_bias_decay(context: Context, call: Any) -> Callable[[Any], Any]:
    """Biases and norms do not decay."""
    return call


@trick(
    "after",
    calls=ot.layerwise_learning_rate_decay,
    main="decay",
    place="groups",
    fields=(),
    decay=0.75,
)
def layerwise_rates(context: Context, call: Any) -> Link:
    """Lower layers learn more slowly, by a factor a layer in the order of their use."""
    return call(depth=context.depths)
