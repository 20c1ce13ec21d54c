"""PyTorch's SGD."""

import optax

from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks.compat.torch._descend import descend, is_zero
from optix_tricks.transforms import trace


def SGD(
    lr: ScalarOrSchedule = 1e-3,
    momentum: ScalarOrSchedule = 0.0,
    dampening: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""`torch.optim.SGD`: gradient descent with momentum and coupled decay.

    .. math::
        g_t &= \pm \nabla f(w) + \lambda w, \quad
        v_t = \mu v_{t-1} + (1 - \tau) g_t, \quad v_1 = g_1 \\
        w &\leftarrow w - \eta_t v_t \quad\text{or}\quad w - \eta_t (g_t + \mu v_t)

    Args:
      lr: :math:`\eta`, a number, an array or a schedule.
      momentum: :math:`\mu` in [0, 1); the number 0 keeps no slot. A schedule cycles it.
      dampening: :math:`\tau`; the number 0 is none for good.
      weight_decay: :math:`\lambda`, added to the gradient of every parameter.
      nesterov: the second form; wants a momentum and no dampening.
      maximize: go uphill.

    Returns:
      An optimiser; no slot, or one.

    Raises:
      ValueError: if an argument is out of range, or Nesterov has no momentum.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = SGD(lr=0.5, momentum=0.5, weight_decay=1.0)
      >>> w, state = jnp.ones(1), tx.init(jnp.ones(1))
      >>> for _ in range(2):
      ...     updates, state = tx.update(jnp.zeros(1), state, w)
      ...     w = optax.apply_updates(w, updates)
      ...     print(w)
      [0.5]
      [0.]

    References:
      Sutskever et al., On the importance of initialization and momentum in deep
      learning, 2013.
    """
    if is_zero(momentum):
        if nesterov:
            raise ValueError(
                f"momentum must be positive with nesterov=True, got {momentum!r}."
            )
        return descend(lr=lr, weight_decay=weight_decay, maximize=maximize)
    damped = None if is_zero(dampening) else dampening
    return descend(
        trace(momentum, nesterov=nesterov, dampening=damped),
        lr=lr,
        weight_decay=weight_decay,
        maximize=maximize,
    )
