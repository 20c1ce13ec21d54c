"""AdaGrad: gradients divided by the root of the sum, or mean, of all their squares."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array

from optix_tricks._checks import check_nonnegative
from optix_tricks._hyperparams import Scalar, ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import Mask, PyTree, safe_sqrt
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate


class ScaleByRssState(NamedTuple):
    """State of `scale_by_rss`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # eps
    sum_of_squares: PyTree  # like the parameters: of all gradients so far


def scale_by_rss(
    initial_accumulator_value: Scalar = 0.1,
    eps: ScalarOrSchedule = 1e-7,
    *,
    mean: bool = False,
    eps_in_sqrt: bool = True,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Divide by the root of the sum of all squared gradients so far.

    .. math::
        s_t = s_{t-1} + g_t^2, \qquad
        u_t = g_t / \sqrt{s_t + \epsilon}
        \;\text{ or }\; g_t / (\sqrt{s_t} + \epsilon)

    With `mean`, :math:`s_t / t` stands for :math:`s_t`: the root mean square of all
    gradients, each of the same weight. Steps then keep their length, where the sum
    shortens them like :math:`1/\sqrt t`.

    An element whose gradients have all been zero gets the update zero, also without
    :math:`\epsilon`.

    Helps with sparse features: one that is seldom seen keeps a long step. Hurts in long
    runs of deep networks, where the sum grows without end and the steps die.

    Args:
      initial_accumulator_value: :math:`s_0` >= 0.
      eps: :math:`\epsilon` >= 0.
      mean: divide the sum by the number of steps.
      eps_in_sqrt: Optax's form; False is PyTorch's.
      mask: which leaves are scaled; the others pass unchanged and have no slot.
      state_dtype: dtype of the slot, float32 by default.

    Returns:
      A transformation; one slot, one root and one division per element. It equals
      `optax.scale_by_rss`.

    Raises:
      ValueError: if `initial_accumulator_value` or `eps` is out of range.

    Examples:
      >>> tx = scale_by_rss(0.0, 0.0)
      >>> state = tx.init(jnp.zeros(2))
      >>> for _ in range(2):
      ...     updates, state = tx.update(jnp.array([1.0, -100.0]), state)
      ...     print(updates.round(3))
      [ 1. -1.]
      [ 0.707 -0.707]

    References:
      Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and
      stochastic optimization, 2011.
    """
    check_nonnegative("initial_accumulator_value", initial_accumulator_value)
    check_nonnegative("eps", eps)

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        return {"number": count}

    def rule(
        g: Array, w: Array | None, total: Array, *, eps: Array, number: Array
    ) -> tuple[Array, Array]:
        total = total + jnp.square(g)
        square = total / number if mean else total
        root = safe_sqrt(square + eps) if eps_in_sqrt else safe_sqrt(square) + eps
        return g / lax.select(total > 0, root, jnp.ones_like(root)), total

    return leafwise(
        rule,
        ScaleByRssState,
        hyperparams={"eps": eps},
        slots={"sum_of_squares": initial_accumulator_value},
        prepare=prepare,
        mask=mask,
        state_dtype=state_dtype,
    )


def adagrad(
    learning_rate: ScalarOrSchedule,
    initial_accumulator_value: Scalar = 0.1,
    eps: ScalarOrSchedule = 1e-7,
    *,
    mean: bool = False,
    eps_in_sqrt: bool = True,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdaGrad: :math:`w \leftarrow w - \eta_t u_t` with :math:`u_t` of `scale_by_rss`.

    Helps with sparse features: one that is seldom seen keeps a long step. Hurts in long
    runs of deep networks, where the sum grows without end and the steps die; `rmsprop`
    forgets instead.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule. PyTorch's
        `lr_decay` is the schedule :math:`\eta / (1 + \delta \cdot \text{count})`.
      initial_accumulator_value: see `scale_by_rss`.
      eps: see `scale_by_rss`.
      mean: see `scale_by_rss`.
      eps_in_sqrt: see `scale_by_rss`.
      mask: which leaves are scaled; the others take gradient steps.
      state_dtype: dtype of the slot, float32 by default.

    Returns:
      An optimiser; one slot.

    Examples:
      >>> tx = adagrad(0.1, initial_accumulator_value=0.0, mean=True)
      >>> updates, _ = tx.update(jnp.array([1.0, -4.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [-0.1  0.1]

    References:
      Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and
      stochastic optimization, 2011.
    """
    scale = scale_by_rss(
        initial_accumulator_value,
        eps,
        mean=mean,
        eps_in_sqrt=eps_in_sqrt,
        mask=mask,
        state_dtype=state_dtype,
    )
    return chain_in_float32(scale, scale_by_learning_rate(learning_rate))
