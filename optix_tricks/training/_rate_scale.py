"""A factor of the rate that lies in the state: what a run is restored with."""

from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array

from optix_tricks._hyperparams import as_scalar
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import PyTree, map_states

NAME = "rate_scale"


class ScaleRateState(NamedTuple):
    """State of `scale_rate`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # rate_scale


def scale_rate() -> optax.GradientTransformationExtraArgs:
    r"""Multiply updates by a number that `with_rate_scale` changes between steps.

    .. math:: u = s \, g, \qquad s = 1 \text{ at first}

    As every update is a multiple of the learning rate, it is the rate that is multiplied,
    and no program is compiled again. Place it behind the optimiser and its decay, and
    before averages of the weights.

    Helps a run that goes on from a checkpoint with less rate, `Job(restores=3)`. Does
    nothing until then. Cost: a multiplication of each update, which XLA fuses.

    Returns:
      A transformation without slots; its factor is reported as `rate_scale`.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = scale_rate()
      >>> state = with_rate_scale(tx.init(jnp.zeros(2)), 0.5)
      >>> print(tx.update(jnp.ones(2), state)[0])
      [0.5 0.5]
    """

    def rule(g: Array, w: Array | None, *, rate_scale: Array) -> tuple[Array]:
        return (rate_scale * g,)

    return leafwise(rule, ScaleRateState, hyperparams={NAME: 1.0})


def with_rate_scale(opt_state: PyTree, scale: float) -> PyTree:
    """Return the state of an optimiser with another factor in its `scale_rate`.

    Args:
      opt_state: of a chain or wrapper that has one, at any depth.
      scale: the factor.

    Raises:
      ValueError: if there is none in it.

    Examples:
      >>> with_rate_scale(optax.sgd(0.1).init(0.0), 0.5)
      Traceback (most recent call last):
      ValueError: tx must have a rate that can be lowered where a job restores: put
      training.scale_rate() into its chain, before averages.
    """

    def scaled(node: ScaleRateState) -> ScaleRateState:
        there = node.hyperparams[NAME].sharding
        new = jax.device_put(as_scalar(scale), there)
        return node._replace(hyperparams=node.hyperparams | {NAME: new})

    changed = map_states(scaled, ScaleRateState, opt_state)
    if changed is None:
        raise ValueError(
            "tx must have a rate that can be lowered where a job restores: put"
            " training.scale_rate() into its chain, before averages."
        )
    return changed
