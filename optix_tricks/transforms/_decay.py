"""Weight decay: L2, decoupled, and L1."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import Mask


class DecayState(NamedTuple):
    """State of `add_decayed_weights` and `add_l1_decay`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # weight_decay or l1_decay


def add_decayed_weights(
    weight_decay: ScalarOrSchedule = 0.0, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Add a multiple of the parameters.

    .. math:: u = g + \lambda w

    Where it stands in the chain says which decay it is. *First*, before momentum or a
    rescaling, it is the gradient of :math:`\tfrac\lambda2 |w|^2`: coupled L2
    regularisation. *After* them, just before the learning rate, it is decoupled decay
    (SGDW, AdamW). With plain SGD both are the same.

    Helps against over-fitting. On weights followed by a normalisation it bounds no
    function: it sets the effective learning rate. Hurts mostly on biases and
    normalisation scales; mask them out.

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
        stateless=True,
    )


def add_l1_decay(
    l1_decay: ScalarOrSchedule, *, proximal: bool = False, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Pull every weight towards zero by the same amount, large or small.

    .. math::
        u = g + \lambda \, \mathrm{sign}(w)
        \quad\text{or, proximal,}\quad u = S_\lambda(w + g) - w, \qquad
        S_\lambda(x) = \mathrm{sign}(x) \max(|x| - \lambda, 0)

    The first is the subgradient of :math:`\lambda |w|_1`. Weights end near zero, hopping
    over it by one step's length, not at it. As with `add_decayed_weights`, the place in
    the chain says whether it is coupled or decoupled.

    The second is the proximal step, for sparse weights that are *exactly* zero. It
    belongs *last* in the chain, behind the learning rate, where :math:`g` is what would
    be added to the weights. :math:`\lambda` is then what a weight loses in one step: for
    a penalty of weight c at the rate :math:`\eta_t`, give the schedule
    :math:`\eta_t c`.

    Helps where few weights matter: the others go to zero. Hurts where many correlated
    ones share the work, of which it keeps few, and by the pull on those that stay.

    Args:
      l1_decay: :math:`\lambda` >= 0, a number, an array or a schedule.
      proximal: the second form.
      mask: which leaves are penalised, e.g. `no_bias_or_norm`; all by default.

    Returns:
      A transformation; no slots; needs the parameters. The identity at 0. Proximal
      updates in bfloat16 bring float32 weights to zero within three steps, as each
      carries eight of their bits; all other pairs at once.

    Raises:
      ValueError: if `l1_decay` is negative, or the parameters are not given.

    Examples:
      >>> w, grads = jnp.array([3.0, -0.5, 0.0]), jnp.zeros(3)
      >>> tx = add_l1_decay(0.1)
      >>> print(tx.update(grads, tx.init(w), w)[0])
      [ 0.1 -0.1  0. ]
      >>> tx = optax.chain(optax.sgd(0.1), add_l1_decay(1.0, proximal=True))
      >>> print(w + tx.update(grads, tx.init(w), w)[0])
      [2. 0. 0.]

    References:
      Tibshirani, Regression shrinkage and selection via the lasso, 1996.
      Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm for linear
      inverse problems, 2009, section 2.
    """
    check_nonnegative("l1_decay", l1_decay)

    def subgradient(g: Array, w: Array, *, l1_decay: Array) -> tuple[Array]:
        return (g + l1_decay * jnp.sign(w),)

    def shrink(g: Array, w: Array, *, l1_decay: Array) -> tuple[Array]:
        x = w + g
        # Not S(w + g) - w: the difference would round, and 0 not be the identity.
        return (jnp.where(jnp.abs(x) <= l1_decay, -w, g - l1_decay * jnp.sign(x)),)

    return leafwise(
        shrink if proximal else subgradient,
        DecayState,
        hyperparams={"l1_decay": l1_decay},
        mask=mask,
        needs_params=True,
        stateless=True,
    )
