"""Gradient clipping: by value, by each array's norm or rms, by the global norm."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optix_tricks._checks import check_positive
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import PER_LAYER, leafwise
from optix_tricks._tree import Mask, PyTree, global_norm, safe_sqrt


class ClipState(NamedTuple):
    """State of `clip`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # max_delta


class ClipByNormState(NamedTuple):
    """State of `clip_by_norm` and `clip_by_block_rms`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # max_norm or threshold
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

    Helps against single wild elements, without a sum over the others. Hurts where the
    direction matters: it turns the gradient, so prefer a norm there. NaN stays NaN,
    infinities become :math:`\pm c`.

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

    return leafwise(
        rule, ClipState, hyperparams={"max_delta": max_delta}, mask=mask, stateless=True
    )


def clip_by_norm(
    max_norm: ScalarOrSchedule, *, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Clip each array to a maximal Euclidean norm.

    .. math:: u_l = g_l \min(1, c / |g_l|)

    for every array (layer) :math:`l` by itself. Helps where the gradient of one layer
    dwarfs the others: that layer alone is shortened, and the direction within it stays.
    Hurts where the balance between layers matters, which changes. A norm that is NaN or
    infinite makes that layer NaN.

    Args:
      max_norm: :math:`c` > 0; infinity is the identity.
      mask: which leaves are clipped; the others pass unchanged.

    Returns:
      A transformation; no slots, one norm per layer; reports `clip_factor` for each.

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
        factor = clip_factor(layer.norm(g), max_norm)
        return g * layer.spread(factor), factor

    return leafwise(
        rule,
        ClipByNormState,
        hyperparams={"max_norm": max_norm},
        slots={"clip_factor": PER_LAYER},
        mask=mask,
        layerwise=True,
        stateless=True,
    )


def clip_by_block_rms(
    threshold: ScalarOrSchedule, *, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Clip each array to a maximal root mean square.

    .. math:: u_l = g_l \min(1, d / \mathrm{rms}(g_l)), \qquad
        \mathrm{rms}(g_l) = |g_l| / \sqrt{n_l}

    for every array :math:`l` of :math:`n_l` elements: `clip_by_norm` with a bound that
    grows with the size of the layer. Adafactor clips its updates so, at 1. A root mean
    square that is NaN or infinite makes that layer NaN.

    Helps behind a second moment that lags: a step that it lets grow too long is cut. Does
    little in front of Adam where the factor hardly changes, as Adam divides it out again.

    Args:
      threshold: :math:`d` > 0; infinity is the identity.
      mask: which leaves are clipped; the others pass unchanged.

    Returns:
      A transformation; no slots, one norm per layer; reports `clip_factor` for each. It
      equals `optax.clip_by_block_rms` where that is finite.

    Raises:
      ValueError: if `threshold` is not positive.

    Examples:
      >>> tx = clip_by_block_rms(1.0)
      >>> grads = {"a": jnp.array([8.0, 0.0, 0.0, 0.0])}
      >>> updates, state = tx.update(grads, tx.init(grads))
      >>> print(updates["a"], state.clip_factor["a"])
      [2. 0. 0. 0.] 0.25

    References:
      Shazeer and Stern, Adafactor: adaptive learning rates with sublinear memory cost,
      2018, section 6.
    """
    check_positive("threshold", threshold)

    def rms(leaf: Any, g: Array) -> tuple[Array]:
        return (safe_sqrt(jnp.sum(jnp.square(g)) / max(g.size, 1)),)

    def rule(
        g: Array, w: Array | None, _: Array, *, threshold: Array, layer: Any
    ) -> tuple[Array, Array]:
        (size,) = layer.map(rms, g)
        factor = clip_factor(size, threshold)
        return g * layer.spread(factor), factor

    return leafwise(
        rule,
        ClipByNormState,
        hyperparams={"threshold": threshold},
        slots={"clip_factor": PER_LAYER},
        mask=mask,
        layerwise=True,
        stateless=True,
    )


def clip_by_global_norm(
    max_norm: ScalarOrSchedule, *, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Clip all arrays together to a maximal Euclidean norm.

    .. math:: u = g \min(1, c / |g|), \qquad |g|^2 = \textstyle\sum_l |g_l|^2

    The direction stays. Helps against rare long steps. Hurts where the factor is below 1
    all the time: it is then a hidden learning rate, so watch the report.

    The norm is summed in float32, so float16 gradients do not overflow. If it is NaN or
    infinite every update becomes NaN: an error that is seen, where Optax lets zeros and
    NaN pass mixed.

    Args:
      max_norm: :math:`c` > 0; infinity is the identity.
      mask: which leaves count and are clipped; the others pass unchanged.

    Returns:
      A transformation; no slots, one norm; reports `global_norm` and `clip_factor`.

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
        factor = clip_factor(norm, h["max_norm"])
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
        stateless=True,
    )


def clip_factor(norm: Array, max_norm: Array) -> Array:
    """Return min(1, c / norm), or NaN where the norm is not finite."""
    # Chosen, and nothing divided by 0: the derivative is finite at norm 0, too.
    long = norm > max_norm
    one = jnp.ones_like(norm)
    above = lax.select(long, jnp.broadcast_to(max_norm, norm.shape), one)
    return above / lax.select(long, norm, one) + 0 * norm
