"""The last link of a chain: minus the learning rate."""

from typing import Any, NamedTuple

import optax
from jaxtyping import Array

from optix_tricks._checks import check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import Mask


class ScaleByLearningRateState(NamedTuple):
    """State of `scale_by_learning_rate`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # learning_rate: the one last used


def scale_by_learning_rate(
    learning_rate: ScalarOrSchedule,
    *,
    flip_sign: bool = True,
    mask: Mask | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Multiply by minus the learning rate.

    .. math:: u = -\eta_t \, g

    A schedule is read at the number of steps done, from 0, before the count goes up. The
    product is taken in float32 whatever the dtype of the updates; Optax casts a
    scheduled rate to it first, which costs up to 0.4 % in bfloat16.

    Helps as the end of a chain of `scale_by_` links. Hurts behind an optimiser such as
    `adam`, which has it already: the two signs cancel and the loss goes up.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule. A number lives in
        the state: `optax.tree.set(state, learning_rate=jnp.float32(0.1))` changes it
        at once, without a new compilation. A state that was restored keeps its rate.
      flip_sign: False gives :math:`+\eta_t g`.
      mask: which leaves to scale; the others pass unchanged.

    Returns:
      A transformation; one multiplication per element, no slots. Neutral at
      `learning_rate=1, flip_sign=False`.

    Raises:
      ValueError: if the rate is negative.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = scale_by_learning_rate(lambda count: 0.1 / (1 + count))
      >>> state = tx.init(jnp.zeros(2))
      >>> for _ in range(2):
      ...     updates, state = tx.update(jnp.ones(2), state)
      ...     print(updates)
      [-0.1 -0.1]
      [-0.05 -0.05]

    References:
      Robbins and Monro, A stochastic approximation method, 1951.
    """
    check_nonnegative("learning_rate", learning_rate)
    sign = -1 if flip_sign else 1

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        return {"factor": sign * h["learning_rate"]}

    def rule(
        g: Array, w: Array | None, *, learning_rate: Array, factor: Array
    ) -> tuple[Array]:
        return (factor * g,)

    return leafwise(
        rule,
        ScaleByLearningRateState,
        hyperparams={"learning_rate": learning_rate},
        prepare=prepare,
        mask=mask,
        stateless=True,
    )
