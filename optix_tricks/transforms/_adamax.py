"""AdaMax: Adam with a decayed maximum in place of the root mean square."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._tree import Mask, PyTree
from optix_tricks.transforms._decoupled import decay_and_descend
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._moments import by_moments


class ScaleByAdamaxState(NamedTuple):
    """State of `scale_by_adamax`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # b1, b2, eps
    mu: PyTree  # like the parameters: average of gradients
    nu: PyTree  # like the parameters: decayed maximum of |gradients|


def scale_by_adamax(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Divide the average gradient by the largest of late.

    .. math::
        m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
        v_t = \max(\beta_2 v_{t-1},\; |g_t| + \epsilon), \quad
        u_t = \frac{m_t}{(1 - \beta_1^t) \, v_t}

    The limit of Adam with the p-th power of gradients, :math:`p \to \infty`. The maximum
    needs no bias correction, and there is no square that could overflow. With
    :math:`\beta_1 < \beta_2` no element of the update exceeds
    :math:`(1 - \beta_1) / (1 - \beta_1 / \beta_2)`, 1.009 at the defaults.

    Helps where gradients are of heavy tails: one large gradient shortens the steps at
    once. Hurts after an outlier, which is forgotten only at the pace of :math:`\beta_2`.

    Args:
      b1: :math:`\beta_1` in [0, 1).
      b2: :math:`\beta_2` in [0, 1).
      eps: :math:`\epsilon` >= 0, inside the maximum.
      mask: which leaves are rescaled; the others pass unchanged and have no slots.
      state_dtype: dtype of both slots, float32 by default.

    Returns:
      A transformation; two slots, no root. It equals `optax.scale_by_adamax`.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> tx = scale_by_adamax()
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [ 1. -1.]

    References:
      Kingma and Ba, Adam: a method for stochastic optimization, 2015, algorithm 2.
    """

    def largest(v: Array, g: Array, s: Any) -> Array:
        return jnp.maximum(s.b2 * v, jnp.abs(g) + s.eps)

    def direction(g: Array, m: Array, v: Array, s: Any) -> tuple[Array]:
        return (m / s.correct1 / v,)

    return by_moments(
        direction,
        ScaleByAdamaxState,
        hyperparams={"b1": b1, "b2": b2, "eps": eps},
        second=largest,
        mask=mask,
        state_dtype=state_dtype,
    )


def adamax(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdaMax: :math:`w \leftarrow w - \eta_t u_t` with :math:`u_t` of `scale_by_adamax`.

    Helps where gradients are sparse or of heavy tails: one large gradient shortens the
    steps at once. Hurts after an outlier, which is forgotten only at the pace of
    :math:`\beta_2`.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      b1: see `scale_by_adamax`.
      b2: see `scale_by_adamax`.
      eps: see `scale_by_adamax`.
      mask: which leaves are rescaled; the others take gradient steps.
      state_dtype: dtype of both slots, float32 by default.

    Returns:
      An optimiser; two slots.

    Examples:
      >>> tx = adamax(0.1)
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [-0.1  0.1]

    References:
      Kingma and Ba, Adam: a method for stochastic optimization, 2015, algorithm 2.
    """
    scale = scale_by_adamax(b1, b2, eps=eps, mask=mask, state_dtype=state_dtype)
    return chain_in_float32(scale, scale_by_learning_rate(learning_rate))


def adamaxw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    schedule: ScalarOrSchedule | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdaMax with decoupled weight decay, as `adamw` has it.

    .. math:: w \leftarrow w - \alpha_t (u_t + \lambda w)
        \quad\text{or, with a schedule,}\quad w - \eta_t (\alpha u_t + \lambda w)

    with :math:`u_t` of `scale_by_adamax`.

    Helps against L2 in the gradient, which the maximum divides away where gradients are
    large. Hurts after an outlier: the steps stay short, while the decay goes on at its
    pace.

    Args:
      learning_rate: :math:`\alpha`, a number, an array or a schedule.
      b1: see `scale_by_adamax`.
      b2: see `scale_by_adamax`.
      eps: see `scale_by_adamax`.
      weight_decay: :math:`\lambda` >= 0; 0 gives `adamax`.
      mask: which leaves decay, e.g. `no_bias_or_norm`; all by default.
      schedule: see `adamw`.
      state_dtype: dtype of both slots, float32 by default.

    Returns:
      An optimiser; two slots. Its update needs the parameters.

    Examples:
      >>> tx = adamaxw(0.1, weight_decay=0.5)
      >>> w = jnp.array([1.0, 2.0])
      >>> updates, _ = tx.update(jnp.ones(2), tx.init(w), w)
      >>> print(updates.round(3))
      [-0.15 -0.2 ]

    References:
      Loshchilov and Hutter, Decoupled weight decay regularization, 2019.
    """
    return decay_and_descend(
        scale_by_adamax(b1, b2, eps=eps, state_dtype=state_dtype),
        learning_rate,
        weight_decay=weight_decay,
        mask=mask,
        schedule=schedule,
    )
