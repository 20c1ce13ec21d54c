"""Gradient clipping: by value, by each array's norm, by the global norm."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optix_tricks._checks import check_positive
from optix_tricks._leafwise import PER_LAYER, ScalarOrSchedule, leafwise
from optix_tricks._tree import Mask, PyTree, global_norm


class ClipState(NamedTuple):
    """State of `clip`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # max_delta


class ClipByNormState(NamedTuple):
    """State of `clip_by_norm`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # max_norm
    clip_factor: PyTree  # one float32 per layer: the factor of the last step

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {"clip_factor": self.clip_factor}


class ClipByGlobalNormState(NamedTuple):
    """State of `clip_by_global_norm`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # max_norm
    global_norm: Float[Array, ""]  # before clipping
    clip_factor: Float[Array, ""]  # the factor of the last step, at most 1

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {"global_norm": self.global_norm, "clip_factor": self.clip_factor}


def clip(
    max_delta: ScalarOrSchedule, *, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Clip each element to an interval.

    .. math:: u = \min(\max(g, -c), c)

    Bounds what a single element can do but turns the gradient; prefer a norm when its
    direction matters. NaN stays NaN, infinities become :math:`\pm c`.

    Args:
      max_delta: :math:`c` > 0; infinity is the identity.
      mask: which leaves are clipped; the others pass unchanged.

    Returns:
      A transformation; no slots.

    Raises:
      ValueError: if `max_delta` is not positive.

    Examples:
      >>> tx = clip(1.0)
      >>> updates, _ = tx.update(jnp.array([0.5, -3.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [ 0.5 -1. ]

    References:
      Mikolov, Statistical language models based on neural networks, 2012.
    """
    check_positive("max_delta", max_delta)

    def rule(g: Array, w: Array | None, *, max_delta: Array) -> tuple[Array]:
        return (jnp.clip(g, -max_delta, max_delta),)

    return leafwise(rule, ClipState, hyperparams={"max_delta": max_delta}, mask=mask)


def clip_by_norm(
    max_norm: ScalarOrSchedule, *, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Clip each array to a maximal Euclidean norm.

    .. math:: u_l = g_l \min(1, c / |g_l|)

    for every array (layer) :math:`l` by itself. The direction within a layer stays; the
    balance between layers changes. A norm that is NaN or infinite makes that layer NaN.

    Args:
      max_norm: :math:`c` > 0; infinity is the identity.
      mask: which leaves are clipped; the others pass unchanged.

    Returns:
      A transformation; reports `clip_factor` for each layer.

    Raises:
      ValueError: if `max_norm` is not positive.

    Examples:
      >>> tx = clip_by_norm(1.0)
      >>> grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.6, 0.0])}
      >>> updates, state = tx.update(grads, tx.init(grads))
      >>> print(updates["a"], updates["b"], state.clip_factor["a"])
      [0.6 0.8] [0.6 0. ] 0.2

    References:
      Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural
      networks, 2013.
    """
    check_positive("max_norm", max_norm)

    def rule(
        g: Array, w: Array | None, _: Array, *, max_norm: Array, layer: Any
    ) -> tuple[Array, Array]:
        factor = _factor(layer.norm(g), max_norm)
        return g * layer.spread(factor), factor

    return leafwise(
        rule,
        ClipByNormState,
        hyperparams={"max_norm": max_norm},
        slots={"clip_factor": PER_LAYER},
        mask=mask,
        layerwise=True,
    )


def clip_by_global_norm(
    max_norm: ScalarOrSchedule, *, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Clip all arrays together to a maximal Euclidean norm.

    .. math:: u = g \min(1, c / |g|), \qquad |g|^2 = \textstyle\sum_l |g_l|^2

    The direction stays. The cure for rare long steps; a factor that is below 1 all the
    time is a hidden learning rate, so watch the report.

    The norm is summed in float32, so float16 gradients do not overflow. If it is NaN or
    infinite every update becomes NaN: an error that is seen, where Optax lets zeros and
    NaN pass mixed.

    Args:
      max_norm: :math:`c` > 0; infinity is the identity.
      mask: which leaves count and are clipped; the others pass unchanged.

    Returns:
      A transformation; reports `global_norm` and `clip_factor`.

    Raises:
      ValueError: if `max_norm` is not positive.

    Examples:
      >>> tx = clip_by_global_norm(1.0)
      >>> grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
      >>> updates, state = tx.update(grads, tx.init(grads))
      >>> print(updates["a"], updates["b"], state.global_norm, state.clip_factor)
      [0.6] [0.8] 5.0 0.2

    References:
      Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural
      networks, 2013, algorithm 1.
    """
    check_positive("max_norm", max_norm)

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        norm = global_norm(gs)
        factor = _factor(norm, h["max_norm"])
        return {"global_norm": norm, "clip_factor": factor, "factor": factor}

    def rule(
        g: Array, w: Array | None, *, max_norm: Array, factor: Array
    ) -> tuple[Array]:
        return (g * factor,)

    return leafwise(
        rule,
        ClipByGlobalNormState,
        hyperparams={"max_norm": max_norm},
        prepare=prepare,
        reports=("global_norm", "clip_factor"),
        mask=mask,
    )


def _factor(norm: Array, max_norm: Array) -> Array:
    # Chosen, not min(1, c / norm): at norm 0 the quotient is infinite.
    factor = jnp.where(norm > max_norm, max_norm / norm, jnp.ones_like(norm))
    return jnp.where(jnp.isfinite(norm), factor, jnp.nan)
