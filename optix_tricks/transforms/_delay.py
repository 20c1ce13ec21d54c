"""Delayed gradients: what asynchronous workers would hand in."""

from typing import Any, NamedTuple

import optax
from jaxtyping import Array

from optix_tricks._checks import check_count
from optix_tricks._leafwise import Queue, leafwise
from optix_tricks._tree import Mask, PyTree


class DelayedGradientsState(NamedTuple):
    """State of `delayed_gradients`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # none
    waiting: tuple[PyTree, ...]  # gradients like the parameters, the oldest first


def delayed_gradients(
    steps: int, *, mask: Mask | None = None, state_dtype: Any = None
) -> optax.GradientTransformationExtraArgs:
    r"""Use the gradient of some steps ago.

    .. math:: u_t = g_{t-k}, \qquad u_t = 0 \text{ for } t \le k

    A model of asynchronous or pipelined training, where :math:`k` other workers have
    moved the parameters since the gradient was taken. Hurts, on purpose: it shows what
    staleness costs. On a curvature :math:`h` plain descent is stable up to
    :math:`\eta h = 2 \sin \frac{\pi}{2 (2k + 1)}`: 2 without delay, 1 for one step, about
    :math:`\pi / (2k + 1)` for many. Momentum adds to the delay.

    Args:
      steps: :math:`k` >= 0; 0 is the identity.
      mask: which leaves are delayed; the others pass unchanged and have no slot.
      state_dtype: dtype of the waiting gradients, float32 by default.

    Returns:
      A transformation; `steps` slots, all of which move each step.

    Raises:
      ValueError: if `steps` is negative or no whole number.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = delayed_gradients(2)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, 2.0, 3.0, 4.0):
      ...     updates, state = tx.update(jnp.full(1, g), state)
      ...     print(updates)
      [0.]
      [0.]
      [1.]
      [2.]

    References:
      Zinkevich, Langford and Smola, Slow learners are fast, 2009.
    """
    check_count("steps", steps)

    def rule(g: Array, w: Array | None, waiting: tuple) -> tuple[Array, tuple]:
        line = (*waiting, g)
        return line[0], line[1:]

    return leafwise(
        rule,
        DelayedGradientsState,
        slots={"waiting": Queue(steps)},
        mask=mask,
        state_dtype=state_dtype,
    )
