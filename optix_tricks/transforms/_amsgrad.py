"""AMSGrad: Adam whose second moment never falls."""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._tree import Mask, PyTree
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._moments import by_moments, root


class ScaleByAmsgradState(NamedTuple):
    """State of `scale_by_amsgrad`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # b1, b2, eps, eps_root
    mu: PyTree  # like the parameters: average of gradients
    nu: PyTree  # like the parameters: average of squared gradients
    nu_max: PyTree  # like the parameters: the largest nu so far


def scale_by_amsgrad(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool | Literal["after_max"] = True,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Divide the average gradient by the largest root mean square so far.

    .. math::
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
        v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
        \hat v_t &= \max(\hat v_{t-1}, v_t), \quad
        u_t = m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon)

    That is the paper's algorithm, which corrects neither moment: both switches False.
    The correction :math:`c_t = 1 - \beta_2^t` comes in where `bias_correction_nu` says:

    =================  =========================================  ====================
    `True`             :math:`\max_{s \le t} (v_s / c_s)`         Optax, the default
    `"after_max"`      :math:`(\max_{s \le t} v_s) / c_t`         PyTorch
    `False`            :math:`\max_{s \le t} v_s`                 the paper
    =================  =========================================  ====================

    The first keeps the largest of the first few gradients for ever: after gradients 1,
    0.1, 0.1 the three divide by the roots of 1, 0.34 and 0.001.

    Helps where rare large gradients carry the direction, which Adam forgets. Hurts after
    an outlier, which shortens the steps for ever. Does little on most problems.

    Args:
      b1: :math:`\beta_1` in [0, 1).
      b2: :math:`\beta_2` in [0, 1).
      eps: :math:`\epsilon` >= 0, outside the root.
      eps_root: :math:`\bar\epsilon` >= 0, inside the root.
      mu_dtype: dtype of the first moment alone; None for `state_dtype`.
      bias_correction_mu: divide :math:`m_t` by :math:`1 - \beta_1^t`.
      bias_correction_nu: True, False or "after_max".
      mask: which leaves are rescaled; the others pass unchanged and have no slots.
      state_dtype: dtype of the three slots, float32 by default; in int8 the maximum
        holds to 3 % only.

    Returns:
      A transformation; three slots. It equals `optax.scale_by_amsgrad`.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> tx = scale_by_amsgrad(0.0, 0.5)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (2.0, 1.0):
      ...     updates, state = tx.update(jnp.full(1, g), state)
      ...     print(updates)
      [1.]
      [0.5]

    References:
      Reddi, Kale and Kumar, On the convergence of Adam and beyond, 2018, algorithm 2.
    """
    after = bias_correction_nu == "after_max"
    before = bool(bias_correction_nu) and not after

    def direction(
        g: Array, m: Array, v: Array, v_max: Array, s: Any
    ) -> tuple[Array, Array]:
        v_max = jnp.maximum(v_max, v / s.correct2 if before else v)
        m_hat = m / s.correct1 if bias_correction_mu else m
        return m_hat / root(v_max / s.correct2 if after else v_max, s), v_max

    return by_moments(
        direction,
        ScaleByAmsgradState,
        hyperparams={"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root},
        more_slots=("nu_max",),
        mask=mask,
        mu_dtype=mu_dtype,
        state_dtype=state_dtype,
    )


def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool | Literal["after_max"] = True,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AMSGrad: :math:`w \leftarrow w - \eta_t u_t`, :math:`u_t` of `scale_by_amsgrad`.

    Helps where rare large gradients carry the direction, which Adam forgets before they
    come back: on the paper's example Adam goes the wrong way and AMSGrad does not. On
    usual networks the two are alike, and after one outlier AMSGrad's steps stay short.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      b1: see `scale_by_amsgrad`.
      b2: see `scale_by_amsgrad`.
      eps: see `scale_by_amsgrad`.
      eps_root: see `scale_by_amsgrad`.
      mu_dtype: see `scale_by_amsgrad`.
      bias_correction_mu: see `scale_by_amsgrad`.
      bias_correction_nu: see `scale_by_amsgrad`.
      mask: which leaves are rescaled; the others take gradient steps.
      state_dtype: dtype of the three slots, float32 by default.

    Returns:
      An optimiser; three slots.

    Examples:
      >>> tx = amsgrad(0.1)
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [-0.1  0.1]

    References:
      Reddi, Kale and Kumar, On the convergence of Adam and beyond, 2018.
    """
    scale = scale_by_amsgrad(
        b1,
        b2,
        eps=eps,
        eps_root=eps_root,
        mu_dtype=mu_dtype,
        bias_correction_mu=bias_correction_mu,
        bias_correction_nu=bias_correction_nu,
        mask=mask,
        state_dtype=state_dtype,
    )
    return chain_in_float32(scale, scale_by_learning_rate(learning_rate))
