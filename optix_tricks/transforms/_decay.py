"""Weight decay: L2, decoupled, and L1."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_nonnegative
from optix_tricks._leafwise import ScalarOrSchedule, leafwise
from optix_tricks._tree import Mask


class DecayState(NamedTuple):
    """State of `add_decayed_weights` and `add_l1_decay`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # weight_decay or l1_decay


def add_decayed_weights(
    weight_decay: ScalarOrSchedule, *, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Add a multiple of the parameters.

    .. math:: u = g + \lambda w

    Where it stands in the chain says which decay it is. *First*, before momentum or a
    rescaling, it is the gradient of :math:`\tfrac\lambda2 |w|^2`: coupled L2
    regularisation. *After* them, just before the learning rate, it is decoupled decay
    (SGDW, AdamW). With plain SGD both are the same.

    On weights followed by a normalisation it bounds no function: it sets the effective
    learning rate. On biases and normalisation scales it mostly hurts; mask them out.

    Args:
      weight_decay: :math:`\lambda` >= 0, a number, an array or a schedule.
      mask: which leaves decay, e.g. `no_bias_or_norm`; all by default.

    Returns:
      A transformation; no slots; needs the parameters. The identity at 0.

    Raises:
      ValueError: if `weight_decay` is negative, or the parameters are not given.

    Examples:
      >>> tx = add_decayed_weights(0.5)
      >>> w = jnp.array([1.0, -2.0])
      >>> updates, _ = tx.update(jnp.zeros(2), tx.init(w), w)
      >>> print(updates)
      [ 0.5 -1. ]

    References:
      Krogh and Hertz, A simple weight decay can improve generalization, 1992.
      Loshchilov and Hutter, Decoupled weight decay regularization, 2019.
    """
    check_nonnegative("weight_decay", weight_decay)

    def rule(g: Array, w: Array, *, weight_decay: Array) -> tuple[Array]:
        return (g + weight_decay * w,)

    return leafwise(
        rule,
        DecayState,
        hyperparams={"weight_decay": weight_decay},
        mask=mask,
        needs_params=True,
    )


def add_l1_decay(
    l1_decay: ScalarOrSchedule, *, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Add the subgradient of an L1 penalty.

    .. math:: u = g + \lambda \, \mathrm{sign}(w), \qquad \mathrm{sign}(0) = 0

    The gradient of :math:`\lambda |w|_1`: pulls every weight towards zero by the same
    amount, large or small. Weights end near zero, hopping over it by one step's length,
    not at it. As with `add_decayed_weights`, the place in the chain says whether it is
    coupled or decoupled.

    Args:
      l1_decay: :math:`\lambda` >= 0, a number, an array or a schedule.
      mask: which leaves are penalised, e.g. `no_bias_or_norm`; all by default.

    Returns:
      A transformation; no slots; needs the parameters. The identity at 0.

    Raises:
      ValueError: if `l1_decay` is negative, or the parameters are not given.

    Examples:
      >>> tx = add_l1_decay(0.1)
      >>> w = jnp.array([3.0, -0.5, 0.0])
      >>> updates, _ = tx.update(jnp.zeros(3), tx.init(w), w)
      >>> print(updates)
      [ 0.1 -0.1  0. ]

    References:
      Tibshirani, Regression shrinkage and selection via the lasso, 1996.
    """
    check_nonnegative("l1_decay", l1_decay)

    def rule(g: Array, w: Array, *, l1_decay: Array) -> tuple[Array]:
        return (g + l1_decay * jnp.sign(w),)

    return leafwise(
        rule,
        DecayState,
        hyperparams={"l1_decay": l1_decay},
        mask=mask,
        needs_params=True,
    )
