"""PyTorch's Adagrad, Adadelta and RMSprop."""

from collections.abc import Callable
from typing import Any

import optax
from jax.typing import ArrayLike

from optix_tricks._checks import check_fraction, check_nonnegative
from optix_tricks._hyperparams import Scalar, ScalarOrSchedule
from optix_tricks._predicates import described, is_scalar
from optix_tricks.compat.torch._descend import descend, is_zero
from optix_tricks.transforms import (
    scale_by_adadelta,
    scale_by_rms,
    scale_by_rss,
    scale_by_stddev,
    trace,
)


def Adagrad(
    lr: ScalarOrSchedule = 1e-2,
    lr_decay: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    initial_accumulator_value: Scalar = 0.0,
    eps: ScalarOrSchedule = 1e-10,
    *,
    maximize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""`torch.optim.Adagrad`: by the root of the sum of all squared gradients.

    .. math::
        s_t = s_{t-1} + g_t^2, \qquad
        w \leftarrow w - \frac{\eta_t}{1 + (t - 1) \delta} \,
        \frac{g_t}{\sqrt{s_t} + \epsilon}

    with :math:`g_t = \pm \nabla f(w) + \lambda w`.

    Args:
      lr: :math:`\eta`, a number, an array or a schedule.
      lr_decay: :math:`\delta` >= 0, a decay by the time beside any schedule.
      weight_decay: :math:`\lambda`, added to the gradient of every parameter.
      initial_accumulator_value: :math:`s_0`.
      eps: :math:`\epsilon`, outside the root. With 0 an element without any gradient
        stays where it is; in PyTorch it is NaN.
      maximize: go uphill.

    Returns:
      An optimiser; one slot.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = Adagrad(lr=0.1)
      >>> updates, _ = tx.update(jnp.array([1.0, -4.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [-0.1  0.1]

    References:
      Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and
      stochastic optimization, 2011.
    """
    check_nonnegative("lr", lr)
    check_nonnegative("lr_decay", lr_decay)

    def decayed(count: ArrayLike) -> Any:
        decay = _at(lr_decay, count)
        if not is_scalar(decay):
            raise TypeError(f"lr_decay must give a number, got {described(decay)}.")
        return _at(lr, count) / (1 + decay * count)

    scale = scale_by_rss(initial_accumulator_value, eps, eps_in_sqrt=False)
    return descend(
        scale,
        lr=lr if is_zero(lr_decay) else decayed,
        weight_decay=weight_decay,
        maximize=maximize,
    )


def Adadelta(
    lr: ScalarOrSchedule = 1.0,
    rho: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""`torch.optim.Adadelta`: steps from the sizes of past steps.

    .. math:: w \leftarrow w - \eta_t u_t

    with :math:`u_t` of `optix_tricks.scale_by_adadelta` at
    :math:`g_t = \pm \nabla f(w) + \lambda w`.

    Args:
      lr: :math:`\eta`, a number, an array or a schedule.
      rho: :math:`\rho` in [0, 1).
      eps: :math:`\epsilon`, inside both roots.
      weight_decay: :math:`\lambda`, added to the gradient of every parameter.
      maximize: go uphill.

    Returns:
      An optimiser; two slots.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = Adadelta()
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(5))
      [-0.00316  0.00316]

    References:
      Zeiler, ADADELTA: an adaptive learning rate method, 2012.
    """
    scale = scale_by_adadelta(rho, eps)
    return descend(scale, lr=lr, weight_decay=weight_decay, maximize=maximize)


def RMSprop(
    lr: ScalarOrSchedule = 1e-2,
    alpha: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    momentum: ScalarOrSchedule = 0.0,
    centered: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""`torch.optim.RMSprop`: by the running root mean square of gradients.

    .. math::
        \nu_t &= \alpha \nu_{t-1} + (1 - \alpha) g_t^2, \quad
        u_t = g_t / (\sqrt{\nu_t} + \epsilon) \\
        v_t &= \mu v_{t-1} + u_t, \quad w \leftarrow w - \eta_t v_t

    with :math:`g_t = \pm \nabla f(w) + \lambda w`. The rate multiplies after the
    momentum and :math:`\epsilon` stands outside the root; `optix_tricks.rmsprop`, like
    Optax and TensorFlow, has both the other way round.

    Args:
      lr: :math:`\eta`, a number, an array or a schedule.
      alpha: :math:`\alpha` in [0, 1).
      eps: :math:`\epsilon`.
      weight_decay: :math:`\lambda`, added to the gradient of every parameter.
      momentum: :math:`\mu` in [0, 1); the number 0 keeps no slot.
      centered: divide by the running standard deviation. The variance is clamped at
        zero, where PyTorch may get the root of a negative rounding error, NaN.
      maximize: go uphill.

    Returns:
      An optimiser; one to three slots.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = RMSprop(lr=1.0)
      >>> updates, _ = tx.update(jnp.array([1.0, -4.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [-10.  10.]

    References:
      Hinton, Neural networks for machine learning, lecture 6e, 2012.
      Graves, Generating sequences with recurrent neural networks, 2013.
    """
    check_fraction("momentum", momentum)
    scale_by: Callable[..., Any] = scale_by_stddev if centered else scale_by_rms
    links = [scale_by(alpha, eps=eps, eps_in_sqrt=False)]
    if not is_zero(momentum):
        links.append(trace(momentum))
    return descend(*links, lr=lr, weight_decay=weight_decay, maximize=maximize)


def _at(value: ScalarOrSchedule, count: ArrayLike) -> Any:
    return value(count) if callable(value) else value
