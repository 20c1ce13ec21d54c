"""PyTorch's clipping of gradients, as links of a chain."""

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_positive
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import global_norm, widen
from optix_tricks.transforms import clip
from optix_tricks.transforms._clipping import ClipByGlobalNormState


def clip_grad_norm_(
    max_norm: ScalarOrSchedule, norm_type: float = 2.0
) -> optax.GradientTransformationExtraArgs:
    r"""`torch.nn.utils.clip_grad_norm_`: clip all gradients together by their norm.

    .. math:: u = g \min\left(1, \frac{c}{|g|_p + 10^{-6}}\right)

    Place it first in the chain. The norm that PyTorch's function returns is in the
    state and in its report. A norm that is NaN makes everything NaN, an infinite one
    makes zeros of all that is finite, as in PyTorch (`error_if_nonfinite=False`);
    `optix_tricks.clip_by_global_norm` makes NaN of both, and has no 1e-6.

    Args:
      max_norm: :math:`c` > 0; infinity is the identity, and reports the norm.
      norm_type: :math:`p` > 0, a number; infinity is the largest absolute value.

    Returns:
      A transformation; reports `global_norm` and `clip_factor`.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> tx = clip_grad_norm_(1.0)
      >>> grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
      >>> updates, state = tx.update(grads, tx.init(grads))
      >>> print(*[f"{u[0]:.4f}" for u in updates.values()], state.global_norm)
      0.6000 0.8000 5.0

    References:
      Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural
      networks, 2013, algorithm 1.
    """
    check_positive("max_norm", max_norm)
    check_positive("norm_type", norm_type)

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        norm = _norm(gs, norm_type)
        factor = jnp.minimum(h["max_norm"] / (norm + 1e-6), 1)
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
    )


def clip_grad_value_(
    clip_value: ScalarOrSchedule,
) -> optax.GradientTransformationExtraArgs:
    r"""`torch.nn.utils.clip_grad_value_`: clip each element to an interval.

    .. math:: u = \min(\max(g, -c), c)

    Args:
      clip_value: :math:`c` > 0.

    Returns:
      A transformation, that of `optix_tricks.clip`.

    Raises:
      ValueError: if `clip_value` is not positive.

    Examples:
      >>> tx = clip_grad_value_(1.0)
      >>> updates, _ = tx.update(jnp.array([0.5, -3.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [ 0.5 -1. ]

    References:
      Mikolov, Statistical language models based on neural networks, 2012.
    """
    check_positive("clip_value", clip_value)
    return clip(clip_value)


def _norm(gs: list, p: float) -> Array:
    """The p-norm of all elements together, in float32 or wider."""
    if p == 2:
        return global_norm(gs)
    sizes = [jnp.abs(widen(g)) for g in gs]
    zero = jnp.zeros(())
    if p == jnp.inf:
        return jnp.max(jnp.stack([jnp.max(x, initial=0) for x in sizes] or [zero]))
    total = sum((jnp.sum(x**p) for x in sizes), start=zero)
    return jnp.where(total == 0, 0.0, jnp.where(total == 0, 1.0, total) ** (1 / p))
